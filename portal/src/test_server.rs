//! A provider with its Core and its pages, for programs that drive browsers. It prints the
//! addresses as one line of JSON, answers each line of input with a line, and exits at the end of
//! its input.

mod control_command;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use countersign_portal::core::Control;
use countersign_portal::site::Site;
use countersign_portal::{Core, CoreKeys};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use self::control_command::{CommandRunner, ControlCommand};
use crate::demo_provider::{ACCOUNTS, Accounts, DemoProvider, Front, Plan};
use crate::page::Pages;
use crate::program_error::{ErrorContext as _, ProgramError};
use crate::slurm::Slurm;

/// How long the provider may take to start.
const START_MAX: Duration = Duration::from_secs(20);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(25);

/// Options of the command `test-server`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `countersign`.
    #[arg(long)]
    bin: PathBuf,
    /// Whose account runs the users' instances.
    #[arg(long, value_enum)]
    accounts: Accounts,
    /// A call that also needs a passkey; may be repeated.
    #[arg(long)]
    step_up: Vec<String>,
    /// The provider's id.
    #[arg(long, default_value = "hpc")]
    provider: String,
    /// Runs jobs on a small Slurm that this program starts: `tests/support/slurm`.
    #[arg(long)]
    slurm: Option<PathBuf>,
}

/// Serves and executes lines until the input ends.
pub(crate) async fn run(options: Options) -> Result<(), ProgramError> {
    let keys = Arc::new(CoreKeys::generate(&options.provider)?);
    let control = Arc::new(Control::start(Arc::clone(&keys)).await?);
    let slurm = match &options.slurm {
        Some(program) => Some(Slurm::start(program, &ACCOUNTS).await?),
        None => None,
    };
    let (accounts, program, step_up) = (options.accounts, options.bin.as_path(), options.step_up.as_slice());
    let plan = Plan { accounts, program, front: Front::Tls, step_up, slurm };
    let demo_provider = Arc::new(DemoProvider::build(plan, &keys, &control)?);
    let served = serve(&keys, &control, &demo_provider).await;
    let last_log_lines = demo_provider.last_log_lines();
    demo_provider.close().await;
    served.map_err(|error| match last_log_lines.as_str() {
        "" => error,
        words => ProgramError::new(format!("{error}\nThe server's last log lines:\n{words}")),
    })
}

async fn serve(
    keys: &Arc<CoreKeys>,
    control: &Arc<Control>,
    demo_provider: &Arc<DemoProvider>,
) -> Result<(), ProgramError> {
    demo_provider.start_server()?;
    wait_until_it_serves(demo_provider, &new_core(keys, control, demo_provider)?).await?;
    let pages = Pages::open(keys, control, demo_provider, Site::bind().await?).await?;
    say(&json!({
        "provider": demo_provider.origin(),
        "portal": control.origin(),
        "desk": pages.desk_origin(),
        "ca": demo_provider.authority(),
        "users": demo_provider.people().iter().map(|person| json!({
            "username": person.username, "account": person.account, "home": person.home,
        })).collect::<Vec<_>>(),
    }))?;
    let runner = CommandRunner::new(Arc::clone(keys), Arc::clone(control), Arc::clone(demo_provider));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.context("standard input")? {
        if line.trim().is_empty() {
            continue;
        }
        let done = match serde_json::from_str::<ControlCommand>(&line) {
            Ok(command) => runner.run(command).await,
            Err(why) => Err(ProgramError::with_causes("not a command", &why)),
        };
        say(&done.unwrap_or_else(|error| json!({"ok": false, "error": error.to_string()})))?;
    }
    Ok(())
}

/// Makes a Core for the provider of this centre.
pub(crate) fn new_core(
    keys: &Arc<CoreKeys>,
    control: &Control,
    demo_provider: &DemoProvider,
) -> Result<Core, ProgramError> {
    Ok(Core::new(Arc::clone(keys), demo_provider.endpoint()?).with_control(control))
}

/// Waits until the gateway answers Core. Returns the time that this took.
pub(crate) async fn wait_until_it_serves(demo_provider: &DemoProvider, core: &Core) -> Result<Duration, ProgramError> {
    let begun = Instant::now();
    while !core.retrieve_manifest().await.is_ok_and(|answer| answer.is_ok()) {
        if demo_provider.has_fallen() {
            return Err(ProgramError::new("the server has ended"));
        }
        if begun.elapsed() > START_MAX {
            return Err(ProgramError::new(format!("the gateway does not serve after {START_MAX:?}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(begun.elapsed())
}

fn say(value: &Value) -> Result<(), ProgramError> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).context("standard output")
}
