//! Tools of the machine. There is no real one here: a stand-in shows what it is asked.

use super::*;

const STAND_IN: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "2.0.5"; exit; fi
echo "$@" | sed "s|$PWD|DIR|g"
env | grep -E '^(CONDA|MAMBA)_' | sed "s|$(dirname "$PWD")|ROOT|g" | sort
cat conda-packages.txt
[ -n "$CONDA_FAILS" ] && { echo "error    libmamba Could not connect to server" >&2; exit 1; }
mkdir -p conda/conda-meta
echo '{"name": "six", "version": "1.0", "build": "0", "url": "file:///c/noarch/six-1.0-0.conda"}' \
    > conda/conda-meta/six-1.0-0.json
"#;

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let bin = fixture.path("bin");
    fs::create_dir(&bin).unwrap();
    fixture.host.put_on_path(&bin, "micromamba", STAND_IN);
    fixture.host.set("CONDA_PREFIX", "/somewhere");
    fixture.host.set("CONDA_OVERRIDE_CUDA", "12.0");
    fixture
}

#[test]
fn a_tool_on_the_path_is_asked_for_the_specs() {
    let text = "channels: [conda-forge, ./here]\ndependencies: [six, conda-forge::idna>3]";

    let made = fixture().build("env", text, &[]);

    let built = made.result.unwrap();
    assert_eq!(built.built_by, "micromamba 2.0.5");
    assert_eq!(built.packages, ["six=1.0=0"]);
    insta::assert_snapshot!(made.log, @r#"
    + DIR/bin/micromamba create --yes --prefix DIR/env/conda --override-channels --channel https://conda.anaconda.org/conda-forge --channel file://DIR/here --file conda-packages.txt
    create --yes --prefix DIR/conda --override-channels --channel https://conda.anaconda.org/conda-forge --channel file://DIR/here --file conda-packages.txt
    CONDA_OVERRIDE_CUDA=12.0
    CONDA_PKGS_DIRS=ROOT/tools/conda/tool
    MAMBA_ROOT_PREFIX=ROOT/tools/conda/root
    six
    https://conda.anaconda.org/conda-forge::idna>3
    "#);
}

#[test]
fn a_tool_without_network_leads_to_the_same_offer() {
    let mut fixture = fixture();
    fixture.host.set("CONDA_FAILS", "1");

    let failed = failed(fixture.build("env", "dependencies: [six]", &[]));

    assert_eq!(failed.cause, FailureCause::NoChannel);
}
