//! Fuzz target of the configuration. The result depends on the text alone, unknown keys are
//! refused, and accepted values keep the bounds that the rest of the program assumes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use countersign_keys::identity::Uid;

use super::quantity::{parse_size, parse_time, show_size};
use super::{Config, ConfigError, Reader, Role};

/// Reads a text as the configuration in `directory`.
pub fn config(text: &str, directory: &Path) {
    quantities(text);
    let file = directory.join("config.toml");
    let uid = Uid(nix::unistd::geteuid().as_raw());
    let check = |text: &str, role: Role| Config::check(text, &file, Reader { role, uid });
    for role in [Role::Server, Role::Gateway, Role::Instance, Role::Command] {
        match check(text, role) {
            Ok(config) => {
                let again = check(text, role).expect("the same text");
                let said = |config: &Config| {
                    format!("{:?} {:?} {:?}", config.provider, config.gateway, config.served().drives)
                };
                assert_eq!(said(&config), said(&again));
                holds(&config);
                let more = format!("more-than-there-is = 1\n{text}");
                assert!(check(&more, role).is_err(), "a key that nobody knows");
            }
            Err(ConfigError::Content { problems, .. }) => {
                assert!(!problems.is_empty(), "refused, and nobody is told why");
                let lines = text.split('\n').count();
                for problem in &problems {
                    assert!(!problem.reason.to_string().is_empty());
                    assert!(problem.place.is_none_or(|place| place.line >= 1 && place.line <= lines), "{problem:?}");
                }
            }
            Err(_) => {}
        }
    }
}

fn holds(config: &Config) {
    let listen = &config.gateway.listen;
    assert!(!listen.is_empty());
    assert!(listen.iter().enumerate().all(|(at, address)| !listen.iter().skip(at + 1).any(|other| other == address)));
    assert!(config.gateway.tls.is_some() || listen.iter().all(|address| address.ip().is_loopback()));
    let origin = config.provider.origin.as_str();
    assert!(origin.starts_with("https://") || origin.starts_with("http://"), "{origin}");
    assert!(!origin.ends_with('/'));
    let window = config.terms().window;
    assert!(window.lifetime_max_s > 0 && window.future_skew_s >= 0);
    assert!((1024..=64 * 1024 * 1024).contains(&config.gateway.body_max));
    let served = config.served();
    let ids: std::collections::BTreeSet<_> = served.drives.iter().map(|drive| format!("{:?}", drive.id)).collect();
    assert_eq!(ids.len(), served.drives.len(), "two drives of one id");
    assert!(config.served().connection.expires_after_s.is_none_or(|seconds| seconds > 0));
}

fn quantities(text: &str) {
    if let Some(size) = parse_size(text) {
        assert!(text.starts_with(|digit: char| digit.is_ascii_digit()));
        if let Ok(size) = usize::try_from(size) {
            assert_eq!(parse_size(&show_size(size)), u64::try_from(size).ok());
        }
    }
    assert!(parse_time(text).is_none_or(|seconds| seconds >= 0));
}
