//! Ctrl-C and SIGTERM: the first one asks the verb to come to an end, the second one ends the process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    exit::{Exit, Failure},
    ui,
};

/// Cancelled by the first signal. A second one exits with 130 at once.
pub fn listen() -> Result<CancellationToken, Failure> {
    let told = |error: std::io::Error| Failure::error(format!("can't listen for Ctrl-C: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
    let asked = CancellationToken::new();
    let ask = asked.clone();
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        ask.cancel();
        either(&mut interrupt, &mut terminate).await;
        ui::note("ended at once: what was in flight may or may not be stored");
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(asked)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
