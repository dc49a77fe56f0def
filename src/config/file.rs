//! The file as typed: its tables and keys with their places, unchecked.
//!
//! Every key is optional here, so that missing keys are reported together with wrong values.
//! Unknown keys are refused.

use countersign_keys::call::RowSpec;
use serde::Deserialize;
use toml::Spanned;

use crate::{Frequency, ProductKind};

/// A key that may be absent.
pub(super) type Typed<T> = Option<Spanned<T>>;

/// A list that may be absent.
pub(super) type TypedList<T> = Option<Spanned<Vec<Spanned<T>>>>;

/// Declares a table: unknown keys are refused, absent ones are `None`.
macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default, expecting = "a table")]
        pub(super) struct $name {
            $($(#[$field_doc])* pub(super) $key: $type,)*
        }
    };
}

table! {
    /// The file.
    File {
        provider: ProviderTable,
        core: CoreTable,
        gateway: GatewayTable,
        intent: IntentTable,
        sessions: SessionsTable,
        instances: InstancesTable,
        mapping: MappingTable,
        drives: Vec<Spanned<DriveTable>>,
        products: Vec<Spanned<ProductTable>>,
        slurm: Option<SlurmTable>,
        projects: Option<ProjectsTable>,
        accounting: Option<AccountingTable>,
        ssh: SshTable,
        terminals: TerminalsTable,
        applications: ApplicationsTable,
        connection: ConnectionTable,
        maintenance: MaintenanceTable,
        calls: Vec<Spanned<RowSpec>>,
        ipc: DirectoryTable,
        state: DirectoryTable,
        audit: AuditTable,
        metrics: Option<MetricsTable>,
        alarms: AlarmsTable,
    }
}

table! {
    /// `[provider]`
    ProviderTable {
        id: Typed<String>,
        origin: Typed<String>,
        title: Typed<String>,
        logo: Typed<String>,
        contact: Typed<String>,
    }
}

table! {
    /// `[core]`
    CoreTable {
        origin: Typed<String>,
        public_key: Typed<String>,
        refresh_token: Typed<String>,
        ca: Typed<String>,
    }
}

table! {
    /// `[gateway]`
    GatewayTable {
        listen: TypedList<String>,
        tls: Typed<TlsTable>,
        body_max: Typed<String>,
        threads: Typed<i64>,
        connections_max: Typed<i64>,
        sandbox: Typed<SandboxWord>,
        start: Typed<GatewayStartWord>,
        web: Typed<WebTable>,
        links: Typed<WebTable>,
    }
}

table! {
    /// `gateway.web` and `gateway.links`
    WebTable {
        prefix: Typed<String>,
        suffix: Typed<String>,
    }
}

table! {
    /// `gateway.tls`
    TlsTable {
        certificate: Typed<String>,
        key: Typed<String>,
    }
}

table! {
    /// `[intent]`
    IntentTable {
        lifetime_max_s: Typed<i64>,
        future_skew_s: Typed<i64>,
        accept_v1: Typed<bool>,
        deposit_wait_ms: Typed<i64>,
        step_up: TypedList<String>,
        key_lifetime_days: Typed<i64>,
    }
}

table! {
    /// `[sessions]`
    SessionsTable {
        proof: Typed<ProofWord>,
        sealed: Typed<SealWord>,
    }
}

table! {
    /// `[instances]`
    InstancesTable {
        launch: Typed<LaunchWord>,
        listen: Typed<ListenWord>,
        first_port: Typed<i64>,
        uid_min: Typed<i64>,
        idle_stop_s: Typed<i64>,
        #[serde(rename = "static")]
        fixed: TypedList<StaticTable>,
    }
}

table! {
    /// One of `instances.static`
    StaticTable {
        username: Typed<String>,
        address: Typed<String>,
    }
}

table! {
    /// `[mapping]`
    MappingTable {
        start: Typed<StartWord>,
        #[serde(rename = "type")]
        kind: Typed<MapperWord>,
        command: TypedList<String>,
    }
}

table! {
    /// One of `[[drives]]`
    DriveTable {
        id: Typed<String>,
        path: Typed<String>,
        title: Typed<String>,
        product: Typed<String>,
    }
}

table! {
    /// One of `[[products]]`
    ProductTable {
        name: Typed<String>,
        category: Typed<String>,
        #[serde(rename = "type")]
        kind: Typed<ProductKind>,
        description: Typed<String>,
        unit: Typed<String>,
        unit_plural: Typed<String>,
        frequency: Typed<Frequency>,
        price: Typed<i64>,
        free: Typed<bool>,
        hidden: Typed<bool>,
        cpu: Typed<i64>,
        cpu_model: Typed<String>,
        memory_gb: Typed<i64>,
        memory_model: Typed<String>,
        gpu: Typed<i64>,
        gpu_model: Typed<String>,
        partition: Typed<String>,
        qos: Typed<String>,
        account: Typed<String>,
        constraint: Typed<String>,
        address: Typed<String>,
        key: Typed<String>,
    }
}

table! {
    /// `[slurm]`
    SlurmTable {
        commands: Typed<String>,
        config: Typed<String>,
        drive: Typed<String>,
        job_folder: Typed<String>,
        poll_s: Typed<i64>,
        operator: Typed<bool>,
        relay: Typed<String>,
        time_max_h: Typed<i64>,
        ask_account: Typed<bool>,
        ask_modules: Typed<bool>,
        readme: Typed<String>,
        show_outside: Typed<bool>,
    }
}

table! {
    /// `[projects]`
    ProjectsTable {
        prefix: Typed<String>,
        gids: TypedList<i64>,
        command: TypedList<String>,
        removals_an_hour: Typed<i64>,
        removals_an_hour_in_all: Typed<i64>,
    }
}

table! {
    /// `[accounting]`
    AccountingTable {
        every_s: Typed<i64>,
        job_max: Typed<i64>,
        storage_command: TypedList<String>,
    }
}

table! {
    /// `[alarms]`
    AlarmsTable {
        command: TypedList<String>,
    }
}

table! {
    /// `[metrics]`
    MetricsTable {
        listen: Typed<String>,
        mode: Typed<String>,
        anywhere: Typed<bool>,
    }
}

table! {
    /// `[ssh]`
    SshTable {
        keys: Typed<bool>,
        in_drives: Typed<bool>,
    }
}

table! {
    /// `[terminals]`
    TerminalsTable {
        offered: Typed<bool>,
    }
}

table! {
    /// `[applications]`
    ApplicationsTable {
        folder: Typed<String>,
        accept: TypedList<AcceptWord>,
    }
}

table! {
    /// `[connection]`
    ConnectionTable {
        expires_after: Typed<String>,
    }
}

table! {
    /// `[maintenance]`
    MaintenanceTable {
        enabled: Typed<bool>,
        allow: TypedList<String>,
    }
}

table! {
    /// `[ipc]` and `[state]`
    DirectoryTable {
        directory: Typed<String>,
    }
}

table! {
    /// `[audit]`
    AuditTable {
        segment_max: Typed<String>,
        keep_days: Typed<i64>,
        keep_gib: Typed<i64>,
        pseudonyms: Typed<bool>,
        witness_file: Typed<String>,
        witness_syslog: Typed<bool>,
        witness_url: Typed<String>,
        witness_every_s: Typed<i64>,
    }
}

/// Declares the allowed words of a key.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
        #[serde(rename_all = "lowercase")]
        pub(super) enum $name { $($word),* }
    };
}

words! {
    /// `gateway.sandbox`
    SandboxWord { Required, Available, Log, Off }
}
words! {
    /// `gateway.start`
    GatewayStartWord { Server, Service }
}
words! {
    /// `sessions.proof`
    ProofWord { Required, Off }
}
words! {
    /// `sessions.sealed`
    SealWord { Required, Preferred, Off }
}
words! {
    /// An entry of `applications.accept`
    AcceptWord { Approved, Workflow }
}
words! {
    /// `instances.launch`
    LaunchWord { Sudo, Static }
}
words! {
    /// `instances.listen`
    ListenWord { Unix, Tcp }
}
words! {
    /// `mapping.start`
    StartWord { Either, Provider }
}
words! {
    /// `mapping.type`
    MapperWord { Ticket, Command }
}
