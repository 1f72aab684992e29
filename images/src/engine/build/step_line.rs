//! The one line that a step of a build gets.

/// What fits on a line beside other words.
const LONGEST: usize = 100;

/// Returns BuildKit's name of a step, `[stage 3/7] RUN …`, as `Step 3/7 of stage: RUN …`, cut where
/// it is long.
pub(super) fn of_name(name: &str) -> String {
    let read = || {
        let (numbers, what) = name.strip_prefix('[')?.split_once("] ")?;
        let (stage, numbers) = numbers.rsplit_once(' ').unwrap_or(("", numbers));
        let (at, total) = numbers.split_once('/')?;
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let stage = stage.trim();
        let of = if stage.is_empty() { String::new() } else { format!(" of {stage}") };
        (is_number(at) && is_number(total)).then(|| format!("Step {at}/{total}{of}: {what}"))
    };
    cut(&read().unwrap_or_else(|| name.to_owned()))
}

fn cut(line: &str) -> String {
    // What a step does comes behind what it is given.
    let words: Vec<&str> =
        line.split_whitespace().filter(|word| !word.starts_with("--mount=")).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some(_) => line.chars().take(LONGEST - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps_become_short_lines() {
        for (name, line) in [
            ("[2/2] RUN y", "Step 2/2: RUN y"),
            ("[ 2/12] RUN a  &&     b", "Step 2/12: RUN a && b"),
            (
                "[2/3] RUN --mount=type=bind,source=a --mount=type=secret,id=b set -e; x",
                "Step 2/3: RUN set -e; x",
            ),
            ("[other 1/1] RUN z", "Step 1/1 of other: RUN z"),
            ("[auth] a/b:pull token", "[auth] a/b:pull token"),
        ] {
            assert_eq!(of_name(name), line);
        }
        let long = of_name(&format!("[1/1] RUN {}", "é ".repeat(300)));
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.starts_with("Step 1/1: RUN é é") && long.ends_with('…'));
    }
}
