//! The file name of a download in `Content-Disposition` (RFC 6266, RFC 8187).
//!
//! The instance writes it; the gateway parses, limits and rewrites it, so that no byte of an
//! instance's header reaches a browser unchanged (S1). Reads `filename*=UTF-8''…` alone.

/// Longest file name, in bytes: `NAME_MAX` of Linux.
const NAME_MAX: usize = 255;

/// Prefix of a name in RFC 8187 encoding, which our instances use for every name.
const EXTENDED: &str = "filename*=UTF-8''";

/// The header's value: the name in ASCII for old clients, and in full (RFC 8187). Neither has a
/// semicolon, so that [`read`] need not parse quoted strings.
pub fn write(name: &str) -> String {
    let is_plain =
        |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '%' | '/' | ';') || letter == ' ';
    let plain: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    // Characters that RFC 8187 section 3.2.1 allows unescaped.
    let is_itself = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte);
    let full: String = name
        .bytes()
        .map(|byte| if is_itself(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("attachment; filename=\"{plain}\"; {EXTENDED}{full}")
}

/// The name in such a value, without misleading characters. `None` without a usable name.
pub fn read(value: &[u8]) -> Option<String> {
    let value = str::from_utf8(value).ok()?;
    let mut encoded = value.split(';').filter_map(|part| part.trim_ascii().strip_prefix(EXTENDED));
    let (encoded, None) = (encoded.next()?, encoded.next()) else { return None };
    let name = String::from_utf8(decode(encoded)?).ok()?;
    let name: String = name.chars().map(|letter| if is_misleading(letter) { '_' } else { letter }).collect();
    let is_name = !name.trim_matches(['.', ' ']).is_empty() && name.len() <= NAME_MAX;
    is_name.then_some(name)
}

fn decode(encoded: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(NAME_MAX);
    let mut rest = encoded.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            let digits = str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
            (u8::from_str_radix(digits, 16).ok()?, after)
        } else {
            (first, after)
        };
        if bytes.len() >= NAME_MAX {
            return None;
        }
        bytes.push(byte);
        rest = after;
    }
    Some(bytes)
}

/// A path separator, a control character, or one of Unicode's that reorder or hide text ("gpj.exe"
/// as "exe.jpg").
fn is_misleading(letter: char) -> bool {
    matches!(letter, '/' | '\\' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || letter.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_for_old_and_new_clients() {
        let check = |name: &str, want: &str| assert_eq!(write(name), format!("attachment; {want}"));
        check("a b.txt", "filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt");
        check("æ\"\\%;.txt", "filename=\"_____.txt\"; filename*=UTF-8''%C3%A6%22%5C%25%3B.txt");
        check("a\r\nb", "filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab");
        check("naïve.tar.gz", "filename=\"na_ve.tar.gz\"; filename*=UTF-8''na%C3%AFve.tar.gz");
    }

    #[test]
    fn v63_s01_of_a_content_disposition_the_file_name_alone_is_read() {
        let check = |value: &str, want: Option<&str>| assert_eq!(read(value.as_bytes()).as_deref(), want, "{value}");
        for name in ["a b.txt", "æ\"%;.txt", "naïve.tar.gz", ".bashrc", "a;filename*=UTF-8''b", "結果.csv"] {
            check(&write(name), Some(name));
        }
        check("inline; filename*=UTF-8''a.html", Some("a.html")); // rewritten as an attachment
        check("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", Some(".._.._etc_passwd"));
        check("attachment; filename*=UTF-8''a%0D%0ASet-Cookie:%20b", Some("a__Set-Cookie: b"));
        check("attachment; filename*=UTF-8''gpj.%E2%80%AEexe", Some("gpj._exe"));
        check(&write(&"a".repeat(NAME_MAX)), Some(&"a".repeat(NAME_MAX)));
        for none in [
            "",
            "inline",
            "attachment",
            "attachment; filename=\"a.html\"",
            "attachment; filename*=ISO-8859-1''a",
            "attachment; filename*=UTF-7''+ADw-script",
            "attachment; filename*=UTF-8''a; filename*=UTF-8''b",
            "attachment; filename*=UTF-8''",
            "attachment; filename*=UTF-8''..",
            "attachment; filename*=UTF-8''%FF%FE",
            "attachment; filename*=UTF-8''%+1",
            "attachment; filename*=UTF-8''%1",
            &write(&"a".repeat(NAME_MAX + 1)),
        ] {
            check(none, None);
        }
        assert_eq!(read(b"attachment; filename*=UTF-8''\xff"), None);
    }
}
