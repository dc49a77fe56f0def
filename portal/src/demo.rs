//! The demo. With `--check` it plays a story: a real provider, two users, their work, and the
//! attacks of a taken-over Core and a local account. Each printed line reports what has just
//! happened.
//!
//! Without `--check` it serves pages: the same provider with no connected user, for a person with a
//! browser.

mod attacks;
mod invitation;
mod jobs;
mod screen;
mod story;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use countersign_portal::CoreKeys;
use countersign_portal::core::Control;
use countersign_portal::site::Site;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::invitation::Invitation;
use crate::demo::screen::Screen;
use crate::demo::story::Story;
use crate::demo_provider::{ACCOUNTS, Accounts, DemoProvider, Front, Plan};
use crate::page::Pages;
use crate::program_error::{ErrorContext as _, ProgramError};
use crate::relay::Relay;
use crate::slurm::Slurm;

/// Options of the command `demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `countersign`.
    #[arg(long)]
    bin: PathBuf,
    /// Whose account runs the users' instances.
    #[arg(long, value_enum)]
    accounts: Accounts,
    /// Plays the story and exits, with status 0 only if every outcome is as expected. Without it:
    /// serves the pages.
    #[arg(long)]
    check: bool,
    /// Port of UCloud's page; the centre uses the next port, its terminal the one after. Without
    /// it: three free ports.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..=65533))]
    port: Option<u16>,
    /// Runs jobs on a small Slurm that this program starts: `tests/support/slurm`. Without it:
    /// offers no jobs.
    #[arg(long)]
    slurm: Option<PathBuf>,
}

impl Options {
    /// The address of one of the three pages, counted from 0.
    fn address(&self, page: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port.map_or(0, |first| first.saturating_add(page))))
    }

    async fn listener(&self, page: u16) -> Result<TcpListener, ProgramError> {
        let address = self.address(page);
        Site::bind_at(address.port()).await.context(taken(address))
    }
}

fn taken(address: SocketAddr) -> String {
    format!("cannot listen on {address}; choose other ports with --port")
}

/// Runs the demo in the chosen form.
pub(crate) async fn run(options: Options) -> Result<ExitCode, ProgramError> {
    let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
    let mut terminated = signal(SignalKind::terminate()).context("signals")?;
    let mut hung_up = signal(SignalKind::hangup()).context("signals")?;

    let screen = Screen::new();
    let keys = Arc::new(CoreKeys::generate("hpc")?);
    let control = Control::start_at(Arc::clone(&keys), options.address(0), None).await;
    let control = Arc::new(control.context(taken(options.address(0)))?);
    let door = options.listener(1).await?;
    let front = Front::Relay(door.local_addr().context("a port for browsers")?.port());
    let slurm = match &options.slurm {
        Some(program) => Some(Slurm::start(program, &ACCOUNTS).await?),
        None => None,
    };
    let plan = Plan { accounts: options.accounts, program: &options.bin, front, step_up: &[], slurm };
    let demo_provider = Arc::new(DemoProvider::build(plan, &keys, &control)?);
    let _relay = Relay::start(door, demo_provider.endpoint()?);
    let mut story = Story::new(screen, &keys, &control);

    let play = async {
        if options.check {
            tell(&mut story, &demo_provider).await
        } else {
            invite(&mut story, &demo_provider, &options).await
        }
    };
    let ended = tokio::select! {
        told = play => Some(told),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
        _ = hung_up.recv() => None,
    };
    let last_log_lines = demo_provider.last_log_lines();
    demo_provider.close().await;
    match ended {
        None if options.check => Ok(ExitCode::FAILURE),
        None => Ok(ExitCode::SUCCESS),
        Some(Ok(())) if story.is_as_expected() => Ok(ExitCode::SUCCESS),
        Some(Ok(())) => Ok(ExitCode::FAILURE),
        Some(Err(error)) if last_log_lines.is_empty() => Err(error),
        Some(Err(error)) => Err(ProgramError::new(format!("{error}\nThe server's last log lines:\n{last_log_lines}"))),
    }
}

/// Tells the story, from the start of the provider to the summary.
async fn tell(story: &mut Story<'_>, demo_provider: &DemoProvider) -> Result<(), ProgramError> {
    story.open(demo_provider).await?;
    story.connect(demo_provider).await?;
    story.work(demo_provider).await?;
    story.attack_all(demo_provider).await?;
    story.run_jobs(demo_provider).await?;
    story.sum_up();
    Ok(())
}

/// Serves the pages until a signal arrives.
async fn invite(
    story: &mut Story<'_>,
    demo_provider: &Arc<DemoProvider>,
    options: &Options,
) -> Result<(), ProgramError> {
    let desk = options.listener(2).await?;
    if demo_provider.slurm().is_some() {
        demo_provider.approve_catalogue()?;
    }
    story.open(demo_provider).await?;
    let pages = Pages::open(story.keys, story.control, demo_provider, desk).await?;
    let invitation =
        Invitation { ucloud: &story.control.origin(), centre: &demo_provider.origin(), desk: &pages.desk_origin() };
    invitation.show(&story.screen);
    std::future::pending().await
}
