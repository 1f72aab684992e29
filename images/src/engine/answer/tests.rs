use super::*;

fn refused(message: &str) -> EngineError {
    EngineError::Refused { status: 500, message: message.to_owned() }
}

#[test]
fn why_a_pull_went_wrong_is_read_from_its_words() {
    let kind = |message: &str| match pull("x", refused(message)) {
        EngineError::NoImage { .. } => "no image",
        EngineError::Denied { .. } => "denied",
        EngineError::Unreachable { .. } => "unreachable",
        EngineError::Refused { .. } => "refused",
        other => panic!("{other:?}"),
    };
    for (message, expected) in [
        ("manifest for 127.0.0.1:1/a:b not found: manifest unknown: manifest unknown", "no image"),
        ("no matching manifest for linux/arm64/v8 in the manifest list entries", "no image"),
        ("initializing source docker://r/x:1: reading manifest 1 in r/x: name unknown", "no image"),
        ("Get \"http://127.0.0.1:1/v2/a/manifests/b\": no basic auth credentials", "denied"),
        (
            "pull access denied for a, repository does not exist or may require 'docker login'",
            "denied",
        ),
        ("Head \"https://r/v2/x\": unauthorized: authentication required", "denied"),
        (
            "Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            "unreachable",
        ),
        ("Get \"https://r.invalid/v2/\": dial tcp: lookup r.invalid: no such host", "unreachable"),
        ("Get \"https://r/v2/\": x509: certificate signed by unknown authority", "unreachable"),
        (
            "Get \"https://r/v2/\": net/http: request canceled while waiting for connection",
            "unreachable",
        ),
        ("Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", "unreachable"),
        ("something new", "refused"),
    ] {
        assert_eq!(kind(message), expected, "{message}");
    }
}

#[test]
fn a_full_disk_is_told_wherever_it_shows() {
    let words = "write /var/lib/docker/tmp/x: no space left on device\n".to_owned();
    for answer in [
        Error::DockerResponseServerError { status_code: 500, message: words.clone() },
        Error::DockerStreamError { error: words },
    ] {
        let error = pull("x", error("unix:///s", answer));
        assert!(matches!(error, EngineError::DiskFull { .. }), "{error:?}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("trainyard gc"), "{hint}");
    }
}

#[test]
fn a_missing_program_is_told_from_other_missing_things() {
    let started = |message: &str| match start(refused(message)) {
        EngineError::NoProgram { program, message } => Some((program, message)),
        EngineError::Refused { .. } => None,
        other => panic!("{other:?}"),
    };
    let runc = "failed to create shim task: OCI runtime create failed: runc create failed: unable \
                to start container process: exec: \"nope\": executable file not found in $PATH: unknown";
    assert_eq!(
        started(runc),
        Some(("nope".to_owned(), "executable file not found in $PATH".to_owned()))
    );
    let path = "OCI runtime create failed: exec: \"/no/pe\": stat /no/pe: no such file or directory: unknown";
    assert_eq!(started(path).unwrap().0, "/no/pe");
    let crun = "crun: executable file `nope` not found in $PATH: No such file or directory";
    assert_eq!(started(crun).unwrap().0, "nope");
    for other in [
        "OCI runtime create failed: error mounting \"/x\" to rootfs: no such file or directory",
        "exec: \"/etc/passwd\": permission denied: unknown",
    ] {
        assert_eq!(started(other), None, "{other}");
    }
}

#[test]
fn an_image_that_went_missing_is_told_from_other_missing_things() {
    let of = |status, message: &str| {
        create("x", EngineError::Refused { status, message: message.to_owned() })
    };
    assert!(matches!(of(404, "No such image: sha256:aa"), EngineError::NoImage { .. }));
    assert!(matches!(of(404, "network x not found"), EngineError::Refused { .. }));
    assert!(matches!(of(400, "No such image: sha256:aa"), EngineError::Refused { .. }));
}

#[test]
fn an_engine_that_breaks_off_is_gone() {
    let error = error("unix:///s", Error::RequestTimeoutError);
    assert_eq!(error.to_string(), "the container engine at unix:///s does not answer");
    assert!(error.hint().unwrap().contains("journalctl"));
}
