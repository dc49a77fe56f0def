//! The calls that are in no site's hands: Core's own, what anybody may ask, and the endpoints that
//! one-time tokens open.

use crate::call::row::Method;
use crate::identity::CallName;

/// The call that a session's first request is signed with (protocol, section 7).
pub const SESSION_OPEN: &str = "session.open";

/// The call that each later request of a session is signed with.
pub const SESSION_CONTINUE: &str = "session.continue";

/// Whether a call is one of those that prove a session's use.
pub(crate) fn proves_session_use(call: &CallName) -> bool {
    [SESSION_OPEN, SESSION_CONTINUE].contains(&call.as_str())
}

/// What Core asks with its token alone: on its own account, or for a user where the answer is the
/// same for everybody and nothing is changed. No instance ever sees one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ServiceCall {
    /// A user wants to connect.
    Connect,
    /// Starts a user's instance and does nothing else.
    Init,
    /// What the provider supports.
    RetrieveManifest,
    /// A user has disconnected.
    Unlinked,
    /// What people are shown of the provider. Core asks every 10 s.
    RetrieveBranding,
    /// What products there are: one path for each kind of resource.
    RetrieveProducts(ResourceKind),
    /// Which parameters the provider adds to those of an application: none. UCloud's page asks
    /// whenever an application is opened, and nobody has signed anything then.
    RequestDynamicParameters,
    /// Which access tokens the provider offers: none. Core asks for one user and keeps the answer
    /// for all.
    RetrieveTokenOptions,
}

/// The kinds of resource that have products.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ResourceKind {
    /// Drives.
    FileCollections,
    /// Files, which share the drives' products.
    Files,
    /// Jobs.
    Jobs,
    /// Public links.
    Ingresses,
    /// Public addresses.
    NetworkIps,
    /// Licences.
    Licenses,
    /// Private networks.
    PrivateNetworks,
    /// Shares.
    Shares,
}

impl ServiceCall {
    /// Every service call, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 15] = [
        (Self::Connect, Method::Post, "integration/connect"),
        (Self::Init, Method::Post, "integration/init"),
        (Self::RetrieveManifest, Method::Get, "integration/retrieveManifest"),
        (Self::Unlinked, Method::Post, "integration/unlinked"),
        (Self::RetrieveBranding, Method::Get, "provider/branding/retrieveInfo"),
        (Self::RetrieveProducts(ResourceKind::FileCollections), Method::Get, "files/collections/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Files), Method::Get, "files/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Jobs), Method::Get, "jobs/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Ingresses), Method::Get, "ingresses/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::NetworkIps), Method::Get, "networkips/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Licenses), Method::Get, "licenses/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::PrivateNetworks), Method::Get, "private-networks/retrieveProducts"),
        (Self::RetrieveProducts(ResourceKind::Shares), Method::Get, "shares/retrieveProducts"),
        (Self::RequestDynamicParameters, Method::Post, "jobs/requestDynamicParameters"),
        (Self::RetrieveTokenOptions, Method::Get, "tokens/retrieveOptions"),
    ];
}

/// What anybody may ask: the connection page, its endpoints, and what the signer needs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PublicCall {
    /// The connection page.
    ConnectPage,
    /// The page that shows a user's keys.
    KeysPage,
    /// The signer's window.
    SignerPage,
    /// What a ticket is for.
    ConnectDescribe,
    /// Offers a key.
    ConnectOffer,
    /// How far a connection has come.
    ConnectStatus,
    /// Shows that UCloud takes the browser for the user of a connection that was begun at the
    /// centre.
    ConnectConfirm,
    /// Tries a new key.
    ConnectProbe,
    /// Leaves an intent for a request that will come through Core.
    DepositIntent,
    /// Hands in what a passkey asserted for a deposited intent.
    AssertIntent,
    /// This table, for the signer.
    Calls,
}

impl PublicCall {
    /// Every public call, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 11] = [
        (Self::ConnectPage, Method::Get, "connect"),
        (Self::KeysPage, Method::Get, "keys"),
        (Self::SignerPage, Method::Get, "signer"),
        (Self::ConnectDescribe, Method::Post, "connect/describe"),
        (Self::ConnectOffer, Method::Post, "connect/offer"),
        (Self::ConnectStatus, Method::Post, "connect/status"),
        (Self::ConnectConfirm, Method::Post, "connect/confirm"),
        (Self::ConnectProbe, Method::Post, "connect/probe"),
        (Self::DepositIntent, Method::Post, "intents"),
        (Self::AssertIntent, Method::Post, "intents/assertion"),
        (Self::Calls, Method::Get, "intent/calls.json"),
    ];
}

/// Where a one-time token of the user's own instance is redeemed (protocol, section 7), without
/// Core and without its token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SessionEndpoint {
    /// A file's content.
    Download,
    /// A piece of a file, as a body.
    ChunkedUpload,
    /// Files over a WebSocket, in UCloud's binary protocol.
    UploadSocket,
    /// A shell over a WebSocket.
    ShellSocket,
}

impl SessionEndpoint {
    /// Every endpoint, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 4] = [
        (Self::Download, Method::Get, Self::Download.path()),
        (Self::ChunkedUpload, Method::Post, Self::ChunkedUpload.path()),
        (Self::UploadSocket, Method::Get, Self::UploadSocket.path()),
        (Self::ShellSocket, Method::Get, Self::ShellSocket.path()),
    ];

    /// The calls whose tokens are redeemed here.
    #[must_use]
    pub const fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Download => &["files.createDownload"],
            Self::ChunkedUpload | Self::UploadSocket => &["files.createUpload"],
            Self::ShellSocket => &["jobs.openTerminalInFolder", "jobs.openInteractiveSession"],
        }
    }

    /// Its path below `/ucloud/{p}/`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::ChunkedUpload => "chunked/upload",
            Self::UploadSocket => "upload",
            Self::ShellSocket => "websocket",
        }
    }
}
