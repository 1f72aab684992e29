use super::*;

const BASE: &str = "python@sha256:aaaa";

fn recipe<'a>(packages: Packages<'a>, settings: &'a [&'a str]) -> Recipe<'a> {
    Recipe { base: BASE, user: "", interpreter: None, packages, settings }
}

const PIP: Packages<'_> = Packages::Pip { requirements: "0/requirements.txt" };

#[test]
fn requirements_with_settings() {
    insta::assert_snapshot!(generate(&recipe(PIP, &[VARIABLES, CA_BUNDLE])), @r#"
    FROM python@sha256:aaaa
    RUN --mount=type=bind,source=requirements,target=/tmp/trainyard/requirements \
        --mount=type=secret,id=variables,target=/tmp/trainyard/settings/variables \
        --mount=type=secret,id=ca-bundle,target=/tmp/trainyard/settings/ca-bundle \
        set -e; \
        . /tmp/trainyard/settings/variables; \
        python=$(command -v python || command -v python3) || { echo 'trainyard: the image has no' python and no python3; exit 1; }; \
        "$python" -I -m venv /opt/trainyard/env || { echo 'trainyard: the Python of the image cannot make virtual environments'; exit 1; }; \
        /opt/trainyard/env/bin/python -I -m pip install --no-input --no-cache-dir --disable-pip-version-check --progress-bar=off --requirement /tmp/trainyard/requirements/0/requirements.txt
    ENV PATH=/opt/trainyard/env/bin:${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
    "#);
}

#[test]
fn requirements_without_settings_for_the_users_python() {
    let recipe =
        Recipe { user: "1000:users", interpreter: Some("/opt/it's/python"), ..recipe(PIP, &[]) };

    insta::assert_snapshot!(generate(&recipe), @r#"
    FROM python@sha256:aaaa
    USER root
    RUN --mount=type=bind,source=requirements,target=/tmp/trainyard/requirements \
        set -e; \
        python=$(command -v '/opt/it'\''s/python') || { echo 'trainyard: the image has no' '/opt/it'\''s/python'; exit 1; }; \
        "$python" -I -m venv /opt/trainyard/env || { echo 'trainyard: the Python of the image cannot make virtual environments'; exit 1; }; \
        /opt/trainyard/env/bin/python -I -m pip install --no-input --no-cache-dir --disable-pip-version-check --progress-bar=off --requirement /tmp/trainyard/requirements/0/requirements.txt
    USER 1000:users
    ENV PATH=/opt/trainyard/env/bin:${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
    "#);
}

#[test]
fn a_conda_environment() {
    let recipe = Recipe { user: "me", ..recipe(Packages::Conda { pip: None }, &[]) };

    insta::assert_snapshot!(generate(&recipe), @"
    FROM python@sha256:aaaa
    USER root
    COPY conda /opt/trainyard/env
    USER me
    ENV PATH=/opt/trainyard/env/bin:${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
    ");
}

#[test]
fn a_conda_environment_with_packages_from_pip() {
    let packages = Packages::Conda { pip: Some("0/pip.txt") };

    insta::assert_snapshot!(generate(&recipe(packages, &[CA_BUNDLE])), @r"
    FROM python@sha256:aaaa
    COPY conda /opt/trainyard/env
    RUN --mount=type=bind,source=requirements,target=/tmp/trainyard/requirements \
        --mount=type=secret,id=ca-bundle,target=/tmp/trainyard/settings/ca-bundle \
        set -e; \
        /opt/trainyard/env/bin/python -I -m pip --version || { echo 'trainyard: the conda environment has no pip'; exit 1; }; \
        /opt/trainyard/env/bin/python -I -m pip install --no-input --no-cache-dir --disable-pip-version-check --progress-bar=off --requirement /tmp/trainyard/requirements/0/pip.txt
    ENV PATH=/opt/trainyard/env/bin:${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
    ");
}
