//! Tests of the pages and their assets over real sockets: access, and paths that are not found.

use super::*;

const PAGES: [(&str, &str); 3] = [("connect", "same-origin"), ("keys", "same-origin"), ("signer", "unsafe-none")];

async fn get(test: &TestGateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    test.core.send_http(plain_request("GET", path, headers, "")).await.unwrap()
}

/// Every value of an attribute `name="…"` in a page.
fn values<'h>(html: &'h str, name: &str) -> Vec<&'h str> {
    let begin = format!("{name}=\"");
    html.split(begin.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn a_page_may_run_our_scripts_and_nothing_else() {
    let test = TestGateway::new().await;
    for (page, opener_policy) in PAGES {
        let answer = get(&test, &format!("/ucloud/hpc/{page}"), &[]).await;
        assert_eq!(answer.status, 200, "{page}");
        let check = |name: &str, want: &str| assert_eq!(answer.header(name), want, "{page}: {name}");
        check("content-type", "text/html; charset=utf-8");
        check(
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'",
        );
        check("cross-origin-opener-policy", opener_policy);
        check("cross-origin-resource-policy", "same-origin");
        check("referrer-policy", "no-referrer");
        check("x-content-type-options", "nosniff");
        check("x-frame-options", "DENY");
        check("cache-control", "no-cache");
        check("access-control-allow-origin", "");
        check("set-cookie", "");
        let allowed: Vec<&str> = answer
            .header("permissions-policy")
            .split(", ")
            .filter(|feature| !feature.ends_with("=()"))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|feature| feature.split('=').next().unwrap())
            .collect();
        assert_eq!(allowed, ["clipboard-write", "publickey-credentials-create", "publickey-credentials-get"], "{page}");
    }
    assert_eq!(test.upstream_saw(), "", "the gateway serves them itself");
}

#[tokio::test]
async fn whatever_a_page_names_is_ours_and_is_there() {
    let test = TestGateway::new().await;
    for (page, _) in PAGES {
        let html = String::from_utf8(get(&test, &format!("/ucloud/hpc/{page}"), &[]).await.bytes.to_vec()).unwrap();
        let lower = html.to_ascii_lowercase();
        assert!(lower.starts_with("<!doctype html>"), "{page}");
        for inline in
            ["<style", " style=", " onload=", " onclick=", "javascript:", "<base", "<iframe", "<form", "http-equiv"]
        {
            assert!(!lower.contains(inline), "{page}: {inline}");
        }
        for script in lower.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').unwrap();
            assert!(
                tag.contains(" src=") && rest.starts_with("</script>"),
                "{page}: <script{tag}> has text of its own"
            );
        }
        assert_eq!(values(&html, "data-provider"), ["hpc"]);
        assert_eq!(values(&html, "data-origin"), [ORIGIN]);
        assert_eq!(values(&html, "data-core-origin"), [CORE_ORIGIN]);
        let links: Vec<&str> =
            html.split("<a ").skip(1).flat_map(|link| values(link.split('>').next().unwrap(), "href")).collect();
        assert!(
            links.iter().all(|link| [CORE_ORIGIN, "mailto:support@example.org"].contains(link)
                || !link.contains(':') && !link.starts_with("//")),
            "{page} leads to {links:?}"
        );
        let mut loaded: Vec<&str> = [values(&html, " src"), values(&html, " href")].concat();
        loaded.retain(|address| !links.contains(address));
        assert!(loaded.len() >= 2, "{page}: {loaded:?}");
        for address in loaded.into_iter().filter(|address| !address.starts_with("data:") && !address.starts_with('#')) {
            assert!(address.starts_with("/ucloud/hpc/"), "{page} names {address}");
            let answer = get(&test, address, &[]).await;
            assert_eq!(answer.status, 200, "{page} names {address}");
        }
    }
}

/// An asset's path, read from a page.
async fn an_asset(test: &TestGateway) -> String {
    let html = String::from_utf8(get(test, "/ucloud/hpc/connect", &[]).await.bytes.to_vec()).unwrap();
    (*values(&html, " src").first().unwrap()).to_owned()
}

#[tokio::test]
async fn an_asset_may_be_kept_for_good_and_only_our_pages_load_it() {
    let test = TestGateway::new().await;
    let path = an_asset(&test).await;
    let answer = get(&test, &path, &[("origin", "https://evil.example")]).await;
    let check = |name: &str, want: &str| assert_eq!(answer.header(name), want, "{name}");
    check("content-type", "text/javascript; charset=utf-8");
    check("cache-control", "public, max-age=31536000, immutable");
    check("cross-origin-resource-policy", "same-origin");
    check("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    check("x-content-type-options", "nosniff");
    check("access-control-allow-origin", "");
    let style = path.replace("js/connect.js", "css/style.css");
    assert_eq!(get(&test, &style, &[]).await.header("content-type"), "text/css; charset=utf-8");
    let decisions = test.decisions();
    get(&test, &path, &[]).await;
    assert_eq!(test.decisions(), decisions, "the same for everybody: no decision");
}

#[tokio::test]
async fn whoever_has_a_page_or_asset_is_told_so() {
    let test = TestGateway::new().await;
    for path in ["/ucloud/hpc/connect".to_owned(), "/ucloud/hpc/intent/calls.json".to_owned(), an_asset(&test).await] {
        let first = get(&test, &path, &[]).await;
        let again = get(&test, &path, &[("if-none-match", first.header("etag"))]).await;
        assert_eq!((again.status, again.bytes.len()), (304, 0), "{path}");
        for name in ["etag", "cache-control", "content-security-policy"] {
            assert_eq!(again.header(name), first.header(name), "{path}: {name}");
        }
        assert_eq!(get(&test, &path, &[("if-none-match", "\"other\"")]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn no_path_but_an_assets_own_leads_to_one() {
    let test = TestGateway::new().await;
    let path = an_asset(&test).await;
    let folder = path.trim_end_matches("/js/connect.js");
    let hash = folder.rsplit('/').next().unwrap();
    assert_eq!(hash.len(), 32, "{folder}");
    let tricks = [
        (format!("{folder}/js/absent.js"), 404),
        (format!("{folder}/js"), 404),
        (folder.to_owned(), 404),
        (format!("{folder}/"), 404),
        (format!("{path}/"), 404),
        (format!("{path}?v=1"), 404),
        (path.replace("/js/", "//js/"), 404),
        (path.replace(hash, &"0".repeat(32)), 404),
        (path.replace(hash, &hash.to_uppercase()), 404),
        (path.replace("/hpc/", "/other/"), 404),
        (format!("{folder}/templates/base.html"), 404),
        (format!("{folder}/js/../js/connect.js"), 400),
        (format!("{folder}/js/..%2f..%2fCargo.toml"), 400),
        (format!("{folder}/js/%63onnect.js"), 400),
        (format!("{folder}/js/./connect.js"), 400),
    ];
    for (trick, want) in tricks {
        let answer = test.raw(format!("GET {trick} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {want} ")), "{trick}: {answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{trick}: {answer}");
    }
    for method in ["POST", "HEAD", "DELETE", "PUT"] {
        let answer = test.core.send_http(plain_request(method, &path, &[], "")).await.unwrap();
        assert_eq!(answer.status, 404, "{method}");
    }
    assert_eq!(test.upstream_saw(), "");
}

/// R8: a cookie of a parent domain, or another header that is not read, with bytes outside ASCII.
#[tokio::test]
async fn r08_a_cookie_with_other_bytes_than_ascii_shuts_nobody_out() {
    let test = TestGateway::new().await;
    let ask = async |path: &str, line: &[u8]| {
        let head =
            [format!("GET {path} HTTP/1.1\r\nHost: a\r\n").as_bytes(), line, b"\r\nConnection: close\r\n\r\n"].concat();
        test.raw(&head).await[9..12].to_owned()
    };
    for path in ["/ucloud/hpc/connect", "/ucloud/hpc/keys", "/ucloud/hpc/signer", "/ucloud/hpc/intent/calls.json"] {
        for line in ["Cookie: name=Sørensen", "Referer: https://a.example/ø", "X-Any: 結果", "Cookie: a=b"] {
            assert_eq!(ask(path, line.as_bytes()).await, "200", "{path}: {line}");
        }
        assert_eq!(ask(path, b"Cookie: a=\xff\xfe").await, "200", "{path}");
        for line in [&b"Cookie: a=\x01"[..], b"Cookie: a=\x7f", b"Cookie: a\0b", b"Origin: https://\xc3\xb8"] {
            assert_eq!(ask(path, line).await, "400", "{path}");
        }
    }
}
