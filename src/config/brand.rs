//! The provider's brand on every page and in the signer: title, logo and contact.

use std::path::Path;

use bytes::Bytes;
use countersign_keys::identity::Uid;

use crate::admin_file;
use crate::problem::Reason;
use countersign_os::quoted::is_deceptive;

/// Longest title, in characters: one line on a telephone.
const TITLE_MAX: usize = 80;

/// Longest contact, in bytes. The longest e-mail address (RFC 5321) has 254.
const CONTACT_MAX: usize = 254;

/// Largest logo, in bytes: each visitor loads it once.
const LOGO_MAX: u64 = 128 * 1024;

#[derive(Clone, Debug)]
pub struct Brand {
    /// Defaults to the provider's id.
    pub title: String,
    /// Read by server and gateway alone.
    pub logo: Option<Logo>,
    /// Whom users ask for help.
    pub contact: Option<Contact>,
}

#[derive(Clone, Debug)]
pub struct Logo {
    /// The whole file.
    pub content: Bytes,
    pub kind: LogoKind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogoKind {
    Svg,
    Png,
}

/// A link for help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Contact {
    Mail(String),
    Page(String),
}

/// Checks a title.
pub(super) fn title(text: &str) -> Option<String> {
    let count = text.chars().count();
    let is_title = (1..=TITLE_MAX).contains(&count) && text.trim() == text && !text.chars().any(is_deceptive);
    is_title.then(|| text.to_owned())
}

impl Contact {
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\`".contains(&byte);
        if text.len() > CONTACT_MAX || !text.bytes().all(is_plain) {
            return None;
        }
        if let Some(rest) = text.strip_prefix("https://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
            return (!host.is_empty() && host.bytes().all(is_host)).then(|| Self::Page(text.to_owned()));
        }
        let (mailbox, host) = text.split_once('@')?;
        let is_mailbox = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        let is_mail =
            !mailbox.is_empty() && mailbox.bytes().all(is_mailbox) && host.contains('.') && host.bytes().all(is_host);
        is_mail.then(|| Self::Mail(text.to_owned()))
    }

    /// The link's target.
    pub fn link(&self) -> String {
        match self {
            Self::Mail(address) => format!("mailto:{address}"),
            Self::Page(address) => address.clone(),
        }
    }

    /// The link's text.
    pub fn text(&self) -> &str {
        match self {
            Self::Mail(address) | Self::Page(address) => address,
        }
    }
}

impl Logo {
    pub(super) fn read(path: &Path, reader: Uid) -> Result<Self, Reason> {
        let content = admin_file::read_bytes(path, LOGO_MAX, reader)?;
        let not = |what| Reason::Logo { path: path.to_owned(), what };
        let kind = LogoKind::of(&content).map_err(not)?;
        Ok(Self { content: Bytes::from(content), kind })
    }
}

impl LogoKind {
    /// Detects the type. Pages display a logo as an image, in which no script runs. Refuses an SVG
    /// with a document type or a script all the same, because an old browser without CSP may open
    /// it directly.
    fn of(content: &[u8]) -> Result<Self, &'static str> {
        if content.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Ok(Self::Png);
        }
        let text = str::from_utf8(content).map_err(|_| "is neither PNG nor SVG")?;
        let lower = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
        if !(lower.starts_with("<svg") || lower.starts_with("<?xml") && lower.contains("<svg")) {
            return Err("is neither PNG nor SVG");
        }
        if ["<script", "<!doctype", "<!entity", "<foreignobject", "<?xml-stylesheet"]
            .iter()
            .any(|part| lower.contains(part))
        {
            return Err(
                "has a script, a document type, a stylesheet or foreign content in it, which an image has no need of",
            );
        }
        Ok(Self::Svg)
    }

    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
        }
    }

    /// The file name's extension.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n12_a_title_is_one_line_that_is_read_as_it_is_written() {
        for good in [
            "Example Computing Centre",
            "SDU eScience",
            "Rechenzentrum Süd – HPC",
            "計算センター",
            "Centre de calcul « Été »",
            &"a".repeat(80),
        ] {
            assert_eq!(title(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            " a",
            "a ",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{3164}",
            "א",
            "\u{10ec2}",
            "\u{13440}\u{13430}",
            "a\u{2028}b",
            &"a".repeat(81),
        ] {
            assert_eq!(title(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn n12_a_contact_is_an_address_that_a_link_can_lead_to() {
        let link = |text: &str| Contact::parse(text).map(|contact| contact.link());
        assert_eq!(link("support@example.org").as_deref(), Some("mailto:support@example.org"));
        assert_eq!(link("https://example.org/help?a=b").as_deref(), Some("https://example.org/help?a=b"));
        for bad in [
            "",
            "support",
            "a@b",
            "a@b.c?subject=x",
            "a b@c.d",
            "javascript:alert(1)",
            "http://example.org/",
            "https://",
            "https://a@b/",
            "https://a/\"",
            "https://a/<b>",
            "data:text/html,x",
            "a@b.c,d@e.f",
            "https://\u{e6}.org/",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    #[test]
    fn n12_a_logo_is_a_png_or_an_svg_without_scripts() {
        let kind = |content: &str| LogoKind::of(content.as_bytes()).ok();
        assert_eq!(LogoKind::of(b"\x89PNG\r\n\x1a\n..."), Ok(LogoKind::Png));
        assert_eq!(kind("<svg xmlns=\"http://www.w3.org/2000/svg\"/>"), Some(LogoKind::Svg));
        assert_eq!(kind("<?xml version=\"1.0\"?>\n<svg/>"), Some(LogoKind::Svg));
        for bad in [
            "",
            "GIF89a",
            "<html>",
            "<svg><script>x</script></svg>",
            "<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY a \"b\">]><svg/>",
            "<svg><ForeignObject/></svg>",
            "<?xml-stylesheet href=\"a\"?><svg/>",
            "<?xml version=\"1.0\"?><html/>",
        ] {
            assert_eq!(kind(bad), None, "{bad}");
        }
    }
}
