"""The alphas to try, as text: first:end:step, the end left out."""


def parse_alphas(text):
    """Returns the alphas that `text` stands for."""
    first, end, step = (float(part) for part in text.split(":"))
    count = max(1, round((end - first) / step))
    return [first + index * step for index in range(count)]
