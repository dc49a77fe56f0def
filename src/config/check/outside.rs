//! Checks `[provider]`, `[core]` and `[gateway]`: what is visible from outside.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;

use countersign_keys::core_token::CoreKey;
use countersign_keys::identity::{Origin, ProviderId};
use toml::Spanned;

use crate::brand::{self, Contact};
use crate::check::findings::{Findings, Site, word};
use crate::file::{
    CoreTable, GatewayStartWord, GatewayTable, ProviderTable, SandboxWord, TlsTable, Typed, TypedList, WebTable,
};
use crate::problem::Reason;
use crate::secret_file::SecretFile;
use crate::tls::{self, Tls};
use crate::{
    Brand, Core, DRIVE_NUMBERS, Gateway, GatewayStart, LISTENERS_MAX, LinkHosts, Logo, Provider, Role, Sandbox,
    UNFINISHED, WebHosts, admin_file, quantity,
};

/// No path is this long without a slash or a dot; every token is.
const TOKEN_LENGTH_MIN: usize = 40;

pub(super) fn provider(table: ProviderTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Provider> {
    let id = findings
        .required("provider.id", table.id, "the id that UCloud knows this provider by, such as \"hpc\"")
        .and_then(|id| findings.accept("provider.id", &id.span(), provider_id(id.get_ref())));
    let what = "how browsers and Core reach this provider, such as \"https://hpc.example.org\"";
    let origin = origin("provider.origin", table.origin, what, findings);
    let title = table.title.and_then(|typed| {
        let title = brand::title(typed.get_ref()).ok_or(Reason::BrandTitle);
        findings.accept("provider.title", &typed.span(), title)
    });
    let contact = table.contact.and_then(|typed| {
        let contact = Contact::parse(typed.get_ref()).ok_or(Reason::BrandContact);
        findings.accept("provider.contact", &typed.span(), contact)
    });
    // The gateway serves it; the server checks it early.
    let is_read = matches!(site.reader.role, Role::Server | Role::Gateway);
    let logo = table.logo.filter(|_| is_read).and_then(|typed| {
        let logo = Logo::read(&site.path(typed.get_ref()), site.reader.uid);
        findings.accept("provider.logo", &typed.span(), logo)
    });
    let id = id?;
    let title = title.unwrap_or_else(|| id.as_str().to_owned());
    Some(Provider { id, origin: origin?, brand: Brand { title, logo, contact } })
}

/// Instances keep each provider's data in a directory named by its id, beside files with other
/// names.
fn provider_id(text: &str) -> Result<ProviderId, Reason> {
    let id = ProviderId::parse(text)?;
    if [DRIVE_NUMBERS, UNFINISHED].contains(&id.as_str()) { Err(Reason::ProviderTaken) } else { Ok(id) }
}

pub(super) fn core(table: CoreTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Core> {
    let origin = origin("core.origin", table.origin, "UCloud's own origin, such as \"https://cloud.sdu.dk\"", findings);
    let public_key = findings
        .required("core.public_key", table.public_key, "the file with the key that Core's tokens are verified with")
        .and_then(|typed| {
            let read = read_core_key(&site.path(typed.get_ref()), site);
            findings.accept("core.public_key", &typed.span(), read)
        });
    let refresh_token = table.refresh_token.and_then(|typed| {
        let file = secret_file("core.refresh_token", &typed, site, findings)?;
        if site.reader.role == Role::Server {
            findings.accept("core.refresh_token", &typed.span(), file.read_token())?;
        }
        Some(file)
    });
    let ca = match table.ca {
        Some(typed) if site.reader.role == Role::Server => {
            let read = tls::read_certificates(&site.path(typed.get_ref()), site.reader.uid);
            findings.accept("core.ca", &typed.span(), read).unwrap_or_default()
        }
        Some(_) | None => Vec::new(),
    };
    Some(Core { origin: origin?, public_key: public_key?, refresh_token, ca })
}

fn origin(key: &str, typed: Typed<String>, what: &'static str, findings: &mut Findings<'_>) -> Option<Origin> {
    let typed = findings.required(key, typed, what)?;
    findings.accept(key, &typed.span(), Origin::parse(typed.get_ref()))
}

fn read_core_key(path: &Path, site: Site<'_>) -> Result<CoreKey, Reason> {
    let text = admin_file::read_text(path, admin_file::PEM_MAX, site.reader.uid)?;
    CoreKey::parse(text.trim()).map_err(|source| Reason::CoreKey { path: path.to_owned(), source })
}

/// The file of a secret. Refuses a value that looks like the secret itself, without repeating it.
pub(super) fn secret_file(
    key: &str,
    typed: &Spanned<String>,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<SecretFile> {
    let text = typed.get_ref();
    let is_inline = text.contains("-----BEGIN") || (text.len() >= TOKEN_LENGTH_MIN && !text.contains(['/', '.']));
    if is_inline || text.contains('\n') {
        findings.add(key, Some(typed.span()), Reason::SecretInline);
        return None;
    }
    Some(SecretFile::new(site.path(text), site.reader.uid))
}

pub(super) fn gateway(
    table: GatewayTable,
    provider: Option<&Provider>,
    core: Option<&Core>,
    site: Site<'_>,
    findings: &mut Findings<'_>,
) -> Option<Gateway> {
    let listen = listen(table.listen, findings);
    let is_tls_typed = table.tls.is_some();
    let tls = table.tls.map(|typed| tls(typed.into_inner(), site, findings));
    if !is_tls_typed && let Some(address) = listen.iter().flatten().find(|address| !address.ip().is_loopback()) {
        findings.missing("gateway.tls", Reason::TlsAbsent(*address));
    }
    let body_max = match table.body_max {
        None => Some(quantity::BODY_DEFAULT),
        Some(typed) => {
            let size = match quantity::parse_size(typed.get_ref()) {
                None => Err(Reason::Size),
                Some(size) if (quantity::BODY_MIN..=quantity::BODY_MAX).contains(&size) => Ok(size),
                Some(_) => Err(Reason::SizeOutOfRange),
            };
            findings.accept("gateway.body_max", &typed.span(), size)
        }
    };
    let threads = findings.number("gateway.threads", table.threads.as_ref(), quantity::THREADS);
    let connections_max =
        findings.number("gateway.connections_max", table.connections_max.as_ref(), quantity::CONNECTIONS_MAX);
    let web = match table.web {
        None => Some(None),
        Some(typed) => web(typed, provider, core, findings).map(Some),
    };
    let links = match table.links {
        None => Some(None),
        Some(typed) => links(typed, provider, core, web.as_ref().and_then(Option::as_ref), findings).map(Some),
    };
    Some(Gateway {
        listen: listen?,
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        body_max: usize::try_from(body_max?).ok()?,
        threads: usize::try_from(threads?).ok().and_then(NonZeroUsize::new)?,
        connections_max: usize::try_from(connections_max?).ok()?,
        sandbox: match word(table.sandbox.as_ref(), SandboxWord::Required) {
            SandboxWord::Required => Sandbox::Required,
            SandboxWord::Available => Sandbox::Available,
            SandboxWord::Log => Sandbox::Log,
            SandboxWord::Off => Sandbox::Off,
        },
        start: match word(table.start.as_ref(), GatewayStartWord::Server) {
            GatewayStartWord::Server => GatewayStart::Server,
            GatewayStartWord::Service => GatewayStart::Service,
        },
        web: web?,
        links: links?,
    })
}

/// The host names of jobs' web interfaces. None of them may be the provider's or UCloud's own.
fn web(
    typed: Spanned<WebTable>,
    provider: Option<&Provider>,
    core: Option<&Core>,
    findings: &mut Findings<'_>,
) -> Option<WebHosts> {
    let span = typed.span();
    let WebTable { prefix, suffix } = typed.into_inner();
    let what = "what follows the job in the host names of web interfaces, such as \".apps.example.org\"";
    let suffix = findings.required("gateway.web.suffix", suffix, what)?.into_inner();
    let prefix = prefix.map(Spanned::into_inner).unwrap_or_default();
    let hosts = WebHosts::new(&prefix, &suffix, &provider?.origin).ok_or(Reason::WebHosts);
    let hosts = hosts.and_then(|hosts| {
        let is_taken = |host: &str| hosts.middle(host).is_some();
        let is_own = provider.is_some_and(|provider| is_taken(provider.origin.host()));
        let is_cores = core.is_some_and(|core| is_taken(core.origin.host()));
        if is_own || is_cores { Err(Reason::WebHostsTaken) } else { Ok(hosts) }
    });
    findings.accept("gateway.web", &span, hosts)
}

/// The host names of public links. None of them may be the provider's, UCloud's, or one of a web
/// interface.
fn links(
    typed: Spanned<WebTable>,
    provider: Option<&Provider>,
    core: Option<&Core>,
    interfaces: Option<&WebHosts>,
    findings: &mut Findings<'_>,
) -> Option<LinkHosts> {
    let span = typed.span();
    let WebTable { prefix, suffix } = typed.into_inner();
    let what = "what follows the name in the host names of public links, such as \".links.example.org\"";
    let suffix = findings.required("gateway.links.suffix", suffix, what)?.into_inner();
    let prefix = prefix.map(Spanned::into_inner).unwrap_or_default();
    let hosts = LinkHosts::new(&prefix, &suffix, &provider?.origin).ok_or(Reason::WebHosts);
    let hosts = hosts.and_then(|hosts| {
        let is_own = provider.is_some_and(|provider| hosts.is_of_links(provider.origin.host()));
        let is_cores = core.is_some_and(|core| hosts.is_of_links(core.origin.host()));
        match hosts {
            _ if is_own || is_cores => Err(Reason::WebHostsTaken),
            hosts if interfaces.is_some_and(|interfaces| hosts.overlaps(interfaces)) => Err(Reason::LinkHostsTaken),
            hosts => Ok(hosts),
        }
    });
    findings.accept("gateway.links", &span, hosts)
}

fn listen(typed: TypedList<String>, findings: &mut Findings<'_>) -> Option<Vec<SocketAddr>> {
    let what = "the addresses to listen on, such as [\"0.0.0.0:8889\"]";
    let typed = findings.required("gateway.listen", typed, what)?;
    let span = typed.span();
    let entries = typed.into_inner();
    if entries.is_empty() {
        findings.add("gateway.listen", Some(span), Reason::Empty(what));
        return None;
    }
    if entries.len() > LISTENERS_MAX {
        findings.add("gateway.listen", Some(span), Reason::TooMany(LISTENERS_MAX));
        return None;
    }
    let mut addresses = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let address = match entry.get_ref().parse::<SocketAddr>() {
            Err(_) => Err(Reason::Address),
            Ok(address) if address.port() == 0 => Err(Reason::PortZero),
            Ok(address) if addresses.contains(&address) => Err(Reason::Twice),
            Ok(address) => Ok(address),
        };
        addresses.extend(findings.accept(&format!("gateway.listen[{index}]"), &entry.span(), address));
    }
    (addresses.len() == entries.len()).then_some(addresses)
}

fn tls(table: TlsTable, site: Site<'_>, findings: &mut Findings<'_>) -> Option<Tls> {
    let certificate =
        findings.required("gateway.tls.certificate", table.certificate, "the file with the certificate chain in PEM");
    let key = findings.required("gateway.tls.key", table.key, "the file with the certificate's private key in PEM");
    let (certificate, key) = (certificate?, key?);
    let file = secret_file("gateway.tls.key", &key, site, findings)?;
    let tls = Tls::new(site.path(certificate.get_ref()), file, site.reader.uid);
    if matches!(site.reader.role, Role::Instance | Role::Command) {
        return Some(tls);
    }
    match tls.load() {
        Ok(_) => Some(tls),
        Err(error) => {
            let (at, span) = match error {
                tls::TlsError::Certificate(_) | tls::TlsError::NoCertificate { .. } => {
                    ("gateway.tls.certificate", certificate.span())
                }
                tls::TlsError::Key(_)
                | tls::TlsError::NoKey { .. }
                | tls::TlsError::Mismatch(_)
                | tls::TlsError::TooLong => ("gateway.tls.key", key.span()),
            };
            findings.add(at, Some(span), error);
            None
        }
    }
}
