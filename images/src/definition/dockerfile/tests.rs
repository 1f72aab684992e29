use super::*;

fn parse_with(
    text: &str,
    arguments: &[(&str, &str)],
    target: Option<&str>,
) -> Result<Dockerfile, String> {
    let arguments: BTreeMap<String, String> =
        arguments.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let reading =
        Reading { name: "Dockerfile", arguments: &arguments, target, platform: "linux/arm64/v8" };
    Dockerfile::parse(text, &reading).map_err(|error| error.to_string())
}

fn images(text: &str, arguments: &[(&str, &str)]) -> Vec<String> {
    let show = |image: &ImageUse| match &image.platform {
        Some(platform) => format!("{} for {platform}", image.reference),
        None => image.reference.clone(),
    };
    parse_with(text, arguments, None).unwrap().images.iter().map(show).collect()
}

fn error(text: &str) -> String {
    parse_with(text, &[], None).unwrap_err()
}

#[test]
fn images_come_from_all_stages_and_copies() {
    let text = "\
# a comment
FROM --platform=$BUILDPLATFORM golang:1.22 AS Build
COPY --from=tools:1 --chown=1:1 /a /b
FROM build
COPY --from=0 / /x
COPY --from=build / /y
RUN --mount=type=bind,from=wheels,target=/w \\
    pip install x
FROM scratch
COPY --from=tools:1 /c /d
FROM python:3.11";

    assert_eq!(
        images(text, &[]),
        ["golang:1.22 for linux/arm64/v8", "tools:1", "wheels", "python:3.11"]
    );
}

#[test]
fn the_base_is_that_of_the_stage_which_is_built() {
    let text = "FROM a AS one\nFROM b AS two\nFROM one\nRUN x";
    let base = |target| parse_with(text, &[], target).unwrap().base.unwrap().reference;

    assert_eq!(base(None), "a");
    assert_eq!(base(Some("TWO")), "b");
    assert_eq!(base(Some("0")), "a");
    assert_eq!(parse_with(text, &[], Some("one")).unwrap().images.len(), 1);
    assert_eq!(parse_with("FROM scratch", &[], None).unwrap().base, None);
}

#[test]
fn arguments_above_the_first_stage_have_values() {
    let text = "\
ARG VERSION=3.11 NAME=python
ARG FULL=${NAME}:${VERSION:-3.9}
FROM $FULL AS base
ARG LATER=x
FROM app-$TARGETARCH:$LATER";

    assert_eq!(images(text, &[]), ["python:3.11", "app-arm64:"]);
    assert_eq!(images(text, &[("VERSION", "3.12")]), ["python:3.12", "app-arm64:"]);
    assert_eq!(images(text, &[("FULL", "mine")]), ["mine", "app-arm64:"]);
}

#[test]
fn the_frontend_is_that_of_the_syntax_line() {
    let syntax = |text: &str| parse_with(text, &[], None).unwrap().syntax;

    assert_eq!(
        syntax("# syntax = docker/dockerfile:1\nFROM a").as_deref(),
        Some("docker/dockerfile:1")
    );
    assert_eq!(syntax("FROM a\n# syntax=docker/dockerfile:1"), None);
}

#[test]
fn flags_and_texts_name_no_images_but_with_from() {
    let text = "\
FROM a
RUN pip install --mount x
RUN --mount=type=cache,target=/c pip install x
COPY --chmod=755 . .
RUN <<EOF
FROM b
EOF";

    assert_eq!(images(text, &[]), ["a"]);
}

#[test]
fn errors_name_the_line() {
    let cases = [
        "",
        "# only a comment\nARG X=1",
        "RUN x\nFROM a",
        "FROM",
        "FROM a b",
        "FROM a\nFROM --from=x a",
        "ARG V\nFROM $V",
        "ARG A=${B\nFROM a",
    ];
    insta::assert_snapshot!(cases.map(error).join("\n"), @r#"
    "Dockerfile" line 1: there is no FROM line
    "Dockerfile" line 1: there is no FROM line
    "Dockerfile" line 1: RUN comes before the first FROM
    "Dockerfile" line 1: FROM takes an image and, behind AS, the name of a stage
    "Dockerfile" line 1: FROM takes an image and, behind AS, the name of a stage
    "Dockerfile" line 2: FROM has no --from=x
    "Dockerfile" line 2: FROM $V names no image: the variable has no value
    "Dockerfile" line 1: ${B cannot be understood
    "#);
    assert_eq!(
        parse_with("FROM a", &[], Some("x")).unwrap_err(),
        "\"Dockerfile\" line 1: there is no stage \"x\" to build"
    );
}
