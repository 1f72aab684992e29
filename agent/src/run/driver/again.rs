//! Another attempt: what the one before left goes out of its way.

use std::sync::Arc;

use runner::compute_target::TargetError;
use runner::durable_file;
use runner::run_configuration::RetryPolicy;
use snapshots::path_error::PathError;
use tracing::warn;

use super::Context;
use crate::api::wire::submission::SubmitRequest;
use crate::task;

/// Makes the run directory, ready for an attempt: what the one before left goes aside, and the
/// secrets that are kept for all attempts are handed out. May be done again whenever the agent was
/// away. Of a run that is asked to end meanwhile, it may be left as it was.
///
/// # Errors
///
/// A file cannot be moved or written.
pub(super) async fn make_room(context: &mut Context) -> Result<(), PathError> {
    let (number, directory) = (context.row.attempt, context.directory.clone());
    if number > 1 && !task::blocking(move || directory.is_set_aside(number - 1)).await {
        forgotten_there(context).await;
        if context.is_cancelled() {
            return Ok(());
        }
        let directory = context.directory.clone();
        // As a rule the last one alone. One that could not get so far left nothing of its own.
        let earlier = move || (1..number).try_for_each(|before| directory.set_aside(before));
        task::blocking(earlier).await?;
    }
    let most = context.row.request.retry.as_ref().map(RetryPolicy::attempts);
    let directory = context.directory.clone();
    task::blocking(move || {
        directory.create()?;
        most.map_or(Ok(()), |most| directory.hand_out_kept(number >= most))
    })
    .await
}

/// Returns once the target has let go of the attempt before, or the run is asked to end. Of one
/// that was somewhere else, that place takes care in its own time.
async fn forgotten_there(context: &mut Context) {
    let directory = context.directory.clone();
    let before = task::blocking(move || {
        durable_file::read_json::<SubmitRequest>(&directory.run_json()).ok().flatten()
    });
    if before.await.is_none_or(|before| before.target != context.row.request.target) {
        return;
    }
    let mut cancel = context.cancel.clone();
    tokio::select! {
        () = released(context) => {}
        // Whoever could ask is gone only when the agent stops.
        _ = cancel.wait_for(Option::is_some) => {}
    }
}

async fn released(context: &Context) {
    context.agent.releases.settled(&context.row.id).await;
    loop {
        let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
        match task::blocking(move || target.release(&directory)).await {
            Err(TargetError::OutOfContact { .. }) => tokio::time::sleep(super::ending::AGAIN).await,
            Err(error) => return warn!(%error, "The target keeps what it has of an attempt."),
            Ok(()) => return,
        }
    }
}
