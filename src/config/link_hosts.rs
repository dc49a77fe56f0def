//! `gateway.links`: the host names of public links, which users choose between prefix and suffix.
//!
//! Each link has a host name, and so a web origin, that belongs to nothing else:
//! `<prefix><name><suffix>`. No such name is one of a web interface, the provider or UCloud.

use countersign_keys::identity::{LinkName, Origin};

use crate::WebHosts;

/// Prefix and suffix of the host names, and the scheme and port that they share with the provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkHosts(WebHosts);

impl LinkHosts {
    /// `None` unless prefix and suffix are as those of web interfaces.
    pub fn new(prefix: &str, suffix: &str, provider: &Origin) -> Option<Self> {
        WebHosts::new(prefix, suffix, provider).map(Self)
    }

    /// Whether a host name has this form, whatever stands between prefix and suffix.
    pub fn is_of_links(&self, host: &str) -> bool {
        self.0.middle(host).is_some()
    }

    /// The link of a host name, in any spelling that a client may use.
    pub fn link(&self, host: &str) -> Option<LinkName> {
        self.0.middle(host).and_then(|name| LinkName::parse(&name.to_ascii_lowercase()).ok())
    }

    /// The link of a domain as users sign it: in its one spelling, without a port.
    pub fn signed(&self, domain: &str) -> Option<LinkName> {
        self.link(domain).filter(|name| self.domain(name) == domain)
    }

    /// What UCloud's page puts before and after the name that a user chooses.
    pub fn affixes(&self) -> (&str, &str) {
        self.0.affixes()
    }

    /// The host name of a link.
    pub fn domain(&self, name: &LinkName) -> String {
        let (prefix, suffix) = self.affixes();
        format!("{prefix}{name}{suffix}")
    }

    /// `host` or `host:port` of a link, as its browsers say it.
    pub fn authority(&self, name: &LinkName) -> String {
        format!("{}{}", self.domain(name), self.0.port())
    }

    /// How the origins look, for people.
    pub fn form(&self) -> String {
        let (prefix, suffix) = self.affixes();
        format!("{}://{prefix}NAME{suffix}{}", self.scheme(), self.0.port())
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        self.0.scheme()
    }

    /// Whether some host name could be of a link and of a web interface. Judges prefixes and
    /// suffixes alone, so that no name that a user chooses can matter.
    pub fn overlaps(&self, interfaces: &WebHosts) -> bool {
        let ((prefix, suffix), (other_prefix, other_suffix)) = (self.affixes(), interfaces.affixes());
        let begins_alike = prefix.starts_with(other_prefix) || other_prefix.starts_with(prefix);
        let ends_alike = suffix.ends_with(other_suffix) || other_suffix.ends_with(suffix);
        begins_alike && ends_alike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Origin {
        Origin::parse("https://hpc.example.org:8443").unwrap()
    }

    #[test]
    fn j07_a_link_is_one_host_name_in_one_signed_spelling() {
        let hosts = LinkHosts::new("link-", ".links.example.org", &provider()).unwrap();
        let name = LinkName::parse("my-paper").unwrap();
        assert_eq!(hosts.authority(&name), "link-my-paper.links.example.org:8443");
        for (host, is_link, is_signed) in [
            ("link-my-paper.links.example.org", true, true),
            ("LINK-My-Paper.links.example.org", true, false),
            ("link-my-paper.links.example.org:8443", true, false),
            ("link-my-paper.links.example.org.", true, false),
            ("link-.links.example.org", false, false),
            ("link--a.links.example.org", false, false),
            ("link-a-.links.example.org", false, false),
            ("link-a--b.links.example.org", false, false),
            ("link-a.b.links.example.org", false, false),
            ("link-a_b.links.example.org", false, false),
            ("my-paper.links.example.org", false, false),
            ("hpc.example.org", false, false),
            ("link-a.links.example.org.evil", false, false),
        ] {
            assert_eq!(hosts.link(host).is_some(), is_link, "{host}");
            assert_eq!(hosts.signed(host).is_some(), is_signed, "{host}");
        }
        assert!(hosts.is_of_links("link-a.b.links.example.org") && !hosts.is_of_links("hpc.example.org"));
    }

    #[test]
    fn j07_no_link_can_have_the_host_name_of_an_interface() {
        let check = |link: (&str, &str), web: (&str, &str), want: bool| {
            let links = LinkHosts::new(link.0, link.1, &provider()).unwrap();
            let web = WebHosts::new(web.0, web.1, &provider()).unwrap();
            assert_eq!(links.overlaps(&web), want, "{link:?} {web:?}");
        };
        check(("link-", ".apps.example.org"), ("app-", ".apps.example.org"), false);
        check(("", ".links.example.org"), ("", ".apps.example.org"), false);
        check(("", ".apps.example.org"), ("app-", ".apps.example.org"), true);
        check(("app-", ".apps.example.org"), ("", ".apps.example.org"), true);
        check(("app-link-", ".apps.example.org"), ("app-", ".apps.example.org"), true);
        // A host of web interfaces may have dots: `app-x.links.example.org`.
        check(("app-", ".links.example.org"), ("app-", ".example.org"), true);
        check(("", "-l.example.org"), ("", ".example.org"), true);
    }
}
