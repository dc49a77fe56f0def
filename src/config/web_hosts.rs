//! `gateway.web`: the host names under which users reach the web interfaces of their jobs.
//!
//! Each interface has a host name, and so a web origin, that belongs to nothing else:
//! `<prefix><job>-<rank>[-<target>]<suffix>`. Every other host name is of other purposes.

use std::fmt;

use countersign_keys::identity::{CoreJobId, Origin};

/// Longest prefix, in bytes. With the longest place it fits into one label of 63 bytes.
const PREFIX_MAX: usize = 24;

/// Longest suffix, in bytes. A name of the DNS has 253.
const SUFFIX_MAX: usize = 180;

/// Largest number of a node or of a target: as many as one template can name.
const NUMBER_MAX: u32 = 9_999;

/// Prefix and suffix of the host names, and the scheme and port that they share with the provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebHosts {
    prefix: String,
    suffix: String,
    scheme: &'static str,
    /// With its colon; empty for the default of the scheme.
    port: String,
}

impl WebHosts {
    /// `None` unless both are of lower-case letters, digits and hyphens, and the suffix has a dot:
    /// `app-` and `.apps.example.org`.
    pub fn new(prefix: &str, suffix: &str, provider: &Origin) -> Option<Self> {
        let is_label =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let is_prefix = prefix.len() <= PREFIX_MAX && is_label(prefix) && !prefix.starts_with('-');
        let (first, domain) = suffix.split_once('.')?;
        let is_domain = |label: &str| !label.is_empty() && is_label(label) && !label.starts_with('-');
        let is_suffix = suffix.len() <= SUFFIX_MAX && is_label(first) && first.len() <= PREFIX_MAX / 4;
        let has_labels = domain.split('.').all(|label| is_domain(label) && !label.ends_with('-') && label.len() <= 63);
        if !is_prefix || !is_suffix || !has_labels || first.ends_with('-') {
            return None;
        }
        let scheme = if provider.is_https() { "https" } else { "http" };
        let port = match (provider.is_https(), provider.port()) {
            (true, 443) | (false, 80) => String::new(),
            (_, port) => format!(":{port}"),
        };
        Some(Self { prefix: prefix.to_owned(), suffix: suffix.to_owned(), scheme, port })
    }

    /// What stands between prefix and suffix of a host name of this form, whatever it is; `None`
    /// for every other host. A port and the dot of a complete name count for nothing.
    pub fn middle<'h>(&self, host: &'h str) -> Option<&'h str> {
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name);
        let end = name.len().checked_sub(self.suffix.len())?;
        let (front, suffix) = name.split_at_checked(end)?;
        let (prefix, middle) = front.split_at_checked(self.prefix.len())?;
        let is_ours = prefix.eq_ignore_ascii_case(&self.prefix) && suffix.eq_ignore_ascii_case(&self.suffix);
        is_ours.then_some(middle)
    }

    /// Prefix and suffix.
    pub(crate) fn affixes(&self) -> (&str, &str) {
        (&self.prefix, &self.suffix)
    }

    /// The port with its colon; empty for the default of the scheme.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// `host` or `host:port` of an interface, as its browsers say it.
    pub fn authority(&self, place: &WebPlace) -> String {
        format!("{}{place}{}{}", self.prefix, self.suffix, self.port)
    }

    /// The web origin of an interface.
    pub fn origin(&self, place: &WebPlace) -> String {
        format!("{}://{}", self.scheme, self.authority(place))
    }

    /// How the origins look, for people.
    pub fn form(&self) -> String {
        format!("{}://{}JOB-RANK{}{}", self.scheme, self.prefix, self.suffix, self.port)
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }
}

/// An interface of a job, as its host name says it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct WebPlace {
    pub job: CoreJobId,
    /// The node, counted from 0.
    pub rank: u32,
    /// The number of the target among those that the job's script names, from 1; `None` for the
    /// application's own interface.
    pub target: Option<u32>,
}

impl WebPlace {
    /// Reads the one spelling of a place.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let job = CoreJobId::parse(parts.next()?).ok()?;
        let rank = number(parts.next()?)?;
        let target = match parts.next() {
            Some(target) => Some(number(target).filter(|target| *target > 0)?),
            None => None,
        };
        parts.next().is_none().then_some(Self { job, rank, target })
    }
}

impl fmt::Display for WebPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.job, self.rank)?;
        self.target.map_or(Ok(()), |target| write!(out, "-{target}"))
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| *number <= NUMBER_MAX && number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> WebHosts {
        WebHosts::new("app-", ".apps.example.org", &Origin::parse("https://hpc.example.org").unwrap()).unwrap()
    }

    #[test]
    fn a_place_has_one_spelling_and_one_host() {
        for (text, is_place) in [
            ("54112-0", true),
            ("54112-3-2", true),
            ("54112-00", false),
            ("54112-0-0", false),
            ("54112-0-01", false),
            ("54112-0-1-1", false),
            ("54112", false),
            ("54112-", false),
            ("-1-0", false),
            ("a-0", false),
            ("54112-0-x", false),
            ("54112-10000", false),
            ("", false),
        ] {
            let place = WebPlace::parse(text);
            assert_eq!(place.is_some(), is_place, "{text}");
            assert!(place.is_none_or(|place| place.to_string() == text), "{text}");
        }
        let place = WebPlace::parse("54112-0").unwrap();
        assert_eq!(hosts().origin(&place), "https://app-54112-0.apps.example.org");
        let other = Origin::parse("http://localhost:8889").unwrap();
        assert_eq!(WebHosts::new("", ".localhost", &other).unwrap().origin(&place), "http://54112-0.localhost:8889");
    }

    #[test]
    fn every_spelling_of_such_a_host_is_of_an_interface_and_no_other_is() {
        let hosts = hosts();
        for (host, want) in [
            ("app-54112-0.apps.example.org", Some("54112-0")),
            ("APP-54112-0.Apps.example.org", Some("54112-0")),
            ("app-54112-0.apps.example.org:8889", Some("54112-0")),
            ("app-54112-0.apps.example.org.", Some("54112-0")),
            ("app-54112-0.apps.example.org.:1", Some("54112-0")),
            ("app-.apps.example.org", Some("")),
            ("app-x.y.apps.example.org", Some("x.y")),
            ("hpc.example.org", None),
            ("apps.example.org", None),
            ("app-1-0.apps.example.org.evil", None),
            ("xapp-1-0.apps.example.org", None),
            ("", None),
        ] {
            assert_eq!(hosts.middle(host), want, "{host}");
        }
    }

    #[test]
    fn names_that_cannot_be_hosts_are_refused() {
        let provider = Origin::parse("https://hpc.example.org").unwrap();
        for (prefix, suffix, want) in [
            ("app-", "-hpc.example.org", true),
            ("", ".example.org", true),
            ("App-", ".example.org", false),
            ("-app", ".example.org", false),
            ("app.", ".example.org", false),
            ("app-", "example", false),
            ("app-", ".", false),
            ("app-", "..org", false),
            ("app-", ".example.org.", false),
            ("app-", ".-example.org", false),
            ("a-long-prefix-of-many-letters-", ".example.org", false),
        ] {
            assert_eq!(WebHosts::new(prefix, suffix, &provider).is_some(), want, "{prefix} {suffix}");
        }
    }
}
