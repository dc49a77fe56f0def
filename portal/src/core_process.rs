//! Core as a separate process, for trying a configuration by hand.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use countersign_portal::core::Control;
use countersign_portal::{CoreKeys, now};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::program_error::{ErrorContext as _, ProgramError};

/// Options of the command `core`.
#[derive(Args)]
pub(crate) struct Options {
    /// The provider's id.
    #[arg(long, default_value = "hpc")]
    provider: String,
    /// The address of Core's own endpoints.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Directory of the key and the refresh token; both are made if they do not exist.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
}

/// Serves until standard input ends. Prints a token of Core for every line of input.
pub(crate) async fn run(options: Options) -> Result<(), ProgramError> {
    fs::create_dir_all(&options.directory).context(options.directory.display())?;
    let key_file = options.directory.join("core-key.der");
    let token_file = options.directory.join("refresh-token");
    let keys = if key_file.exists() {
        CoreKeys::from_pkcs8(&options.provider, &fs::read(&key_file).context(key_file.display())?)?
    } else {
        let keys = CoreKeys::generate(&options.provider)?;
        write_secret(&key_file, &keys.to_pkcs8()?)?;
        keys
    };
    let public_file = options.directory.join("core.pem");
    fs::write(&public_file, keys.public_base64()?).context(public_file.display())?;
    let refresh_token = fs::read_to_string(&token_file).ok().map(|text| text.trim().to_owned());
    let keys = Arc::new(keys);
    let control = Control::start_at(Arc::clone(&keys), options.listen, refresh_token).await?;
    if !token_file.exists() {
        write_secret(&token_file, control.refresh_token().as_bytes())?;
    }
    let mut out = std::io::stdout();
    let said = writeln!(out, "core.origin        = \"{}\"", control.origin())
        .and_then(|()| writeln!(out, "core.public_key    = \"{}\"", public_file.display()))
        .and_then(|()| writeln!(out, "core.refresh_token = \"{}\"", token_file.display()))
        .and_then(|()| writeln!(out, "Press return for a token of Core; end the input to stop."));
    said.context("standard output")?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while lines.next_line().await.context("standard input")?.is_some() {
        let said = control.calls().iter().try_for_each(|call| writeln!(out, "{call:?}"));
        said.and_then(|()| out.flush()).context("standard output")?;
        writeln!(out, "{}", keys.core2_token(now())?).context("standard output")?;
    }
    Ok(())
}

fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), ProgramError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .context(path.display())
}
