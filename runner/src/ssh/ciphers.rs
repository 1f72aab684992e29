//! Which ciphers and message authentication codes are proposed to a server, in which order.
//!
//! The first that the server has as well is used. All that libssh2 proposes by itself besides
//! (CBC, RC4, SHA-1, MD5) is left out: OpenSSH has had the ones below since 2014.
//!
//! What is fast matters on the way there, where snapshots go. On the way back the cipher that
//! authenticates by itself goes first: the least is done with bytes that nobody has vouched for.

use ssh2::{Error, MethodType, Session};

/// Where the processor has instructions for AES and SHA-256: 0.6 GB/s in one thread of libssh2 here,
/// which enciphers 16 bytes a call, and several times that at the other end.
const WITH_INSTRUCTIONS: [&str; 2] = ["aes128-ctr", "aes256-ctr"];

/// 0.4 GB/s in one thread of libssh2 here, and much the same on any processor.
const ANYWHERE: [&str; 1] = ["chacha20-poly1305@openssh.com"];

/// What servers may insist on: 16 bytes a call cost this mode most.
const OTHERS: [&str; 2] = ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"];

/// Those computed over what was enciphered go first: nothing is deciphered that was tampered with.
const CODES: [&str; 4] = [
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
];

/// Sets what `session` proposes, in both directions.
pub(super) fn propose(session: &Session) -> Result<(), Error> {
    let (there, back) = (ciphers(has_instructions()).join(","), ciphers(false).join(","));
    let codes = CODES.join(",");
    for (method, proposed) in [
        (MethodType::CryptCs, &there),
        (MethodType::CryptSc, &back),
        (MethodType::MacCs, &codes),
        (MethodType::MacSc, &codes),
    ] {
        session.method_pref(method, proposed)?;
    }
    Ok(())
}

/// Returns the ciphers, the best first for a processor with or without instructions for AES and
/// SHA-256. Pure.
fn ciphers(instructions: bool) -> Vec<&'static str> {
    let (first, then): (&[_], &[_]) = if instructions {
        (&WITH_INSTRUCTIONS, &ANYWHERE)
    } else {
        (&ANYWHERE, &WITH_INSTRUCTIONS)
    };
    [first, then, &OTHERS].concat()
}

fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("sha");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_proposed_is_known_and_nothing_is_weak() {
        let session = Session::new().unwrap();
        propose(&session).unwrap();

        let known = session.supported_algs(MethodType::CryptCs).unwrap();
        for cipher in ciphers(true) {
            assert!(known.contains(&cipher), "{cipher} is not in {known:?}");
        }
        let known = session.supported_algs(MethodType::MacCs).unwrap();
        assert!(CODES.iter().all(|code| known.contains(code)), "{known:?}");
    }

    #[test]
    fn what_the_processor_is_good_at_goes_first() {
        assert_eq!(ciphers(true)[0], "aes128-ctr");
        assert_eq!(ciphers(false)[0], "chacha20-poly1305@openssh.com");
        assert_eq!(ciphers(true).len(), ciphers(false).len());
    }
}
