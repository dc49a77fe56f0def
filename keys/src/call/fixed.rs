//! The fixed calls, which no site configures: Core's own, the public ones, and the endpoints for
//! one-time tokens.

use crate::call::method::Method;
use crate::call::names;
use crate::identity::CallName;

/// Whether a call proves the use of a session token.
pub(crate) fn proves_session_use(call: &CallName) -> bool {
    [names::SESSION_OPEN, names::SESSION_CONTINUE].contains(&call.as_str())
}

/// The calls for which Core's token is sufficient. Core makes them on its own account, or for a
/// user if nothing changes and the answer is of the configuration, or is what the site chose to
/// show. No instance ever receives one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ServiceCall {
    /// A user wants to connect.
    Connect,
    /// Starts a user's instance, nothing else.
    Init,
    /// The features that the provider supports.
    RetrieveManifest,
    /// A user has disconnected.
    Unlinked,
    /// The provider's name and logo for display. Core asks every 10 s.
    RetrieveBranding,
    /// The products, with one path for each kind of resource.
    RetrieveProducts(ResourceKind),
    /// The parameters that the provider adds to an application's: none, unless the site asks for
    /// choices. UCloud's page asks when a user opens an application, before the user has signed
    /// anything.
    RequestDynamicParameters,
    /// The access tokens that the provider offers: none. Core asks for one user and caches the
    /// answer for all.
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

/// The path below `/ucloud/{p}/` of [`PublicCall::InterfacePage`]. The fragment of its address is a
/// token.
pub const INTERFACE_PAGE: &str = "interface";

/// The calls open to anyone: the connection page, its endpoints, and the files of the signer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum PublicCall {
    /// The connection page.
    ConnectPage,
    /// The page that shows a user's keys.
    KeysPage,
    /// The signer's window.
    SignerPage,
    /// The page at which a browser's extension opens an interface of a job.
    InterfacePage,
    /// Describes a ticket.
    ConnectDescribe,
    /// Offers a key.
    ConnectOffer,
    /// The state of a connection.
    ConnectStatus,
    /// Confirms that UCloud takes the browser for the user of a connection that was begun at the
    /// centre.
    ConnectConfirm,
    /// Tries a new key.
    ConnectProbe,
    /// Deposits an intent for a request that will come through Core.
    DepositIntent,
    /// Submits a passkey's assertion for a deposited intent.
    AssertIntent,
    /// The table of calls, for the signer.
    Calls,
}

impl PublicCall {
    /// Every public call, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 12] = [
        (Self::ConnectPage, Method::Get, "connect"),
        (Self::KeysPage, Method::Get, "keys"),
        (Self::SignerPage, Method::Get, "signer"),
        (Self::InterfacePage, Method::Get, INTERFACE_PAGE),
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

/// The endpoints at which a one-time token of the user's own instance is redeemed (protocol,
/// section 7), without Core and Core's token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SessionEndpoint {
    /// A file's content.
    Download,
    /// A piece of a file, as a request body.
    ChunkedUpload,
    /// Files over a WebSocket, in UCloud's binary protocol.
    UploadSocket,
    /// A shell over a WebSocket.
    ShellSocket,
    /// The web interface of a job, at that interface's own host name.
    Web,
    /// The desktop of a job over a WebSocket, as noVNC speaks to websockify.
    VncSocket,
}

impl SessionEndpoint {
    /// Every endpoint, with its method and its path below `/ucloud/{p}/`.
    pub const ALL: [(Self, Method, &'static str); 6] = [
        (Self::Download, Method::Get, Self::Download.path()),
        (Self::ChunkedUpload, Method::Post, Self::ChunkedUpload.path()),
        (Self::UploadSocket, Method::Get, Self::UploadSocket.path()),
        (Self::ShellSocket, Method::Get, Self::ShellSocket.path()),
        (Self::Web, Method::Get, Self::Web.path()),
        (Self::VncSocket, Method::Get, Self::VncSocket.path()),
    ];

    /// The calls whose tokens are redeemed here.
    #[must_use]
    pub const fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Download => &[names::FILES_CREATE_DOWNLOAD],
            Self::ChunkedUpload | Self::UploadSocket => &[names::FILES_CREATE_UPLOAD],
            Self::ShellSocket => &[names::JOBS_OPEN_TERMINAL_IN_FOLDER, names::JOBS_OPEN_INTERACTIVE_SESSION],
            Self::Web | Self::VncSocket => &[names::JOBS_OPEN_INTERACTIVE_SESSION],
        }
    }

    /// The path below `/ucloud/{p}/`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::ChunkedUpload => "chunked/upload",
            Self::UploadSocket => "upload",
            Self::ShellSocket => "websocket",
            Self::Web => "authorize-app",
            Self::VncSocket => "vnc",
        }
    }
}
