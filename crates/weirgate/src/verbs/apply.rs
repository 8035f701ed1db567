//! `weirgate apply`.

use super::Session;
use crate::{cli::ApplyArgs, output::Failure};
use app::apply::{self, Removal};

pub(crate) async fn apply(session: &Session, args: &ApplyArgs) -> Result<(), Failure> {
    let removal = if args.remove_all { Removal::AllIsMeant } else { Removal::SomeGrantsRemain };
    let instance =
        if args.dry_run { session.instance().await? } else { session.instance_to_change().await? };
    let plan = apply::plan(&instance, &args.dir).await?;
    let text = plan.to_text(args.dry_run);
    let json = plan.to_json(args.dry_run);
    if args.dry_run {
        instance.close().await?;
        session.output.result(&json, text)?;
        // Ends as the real run would.
        return Ok(plan.check(removal)?);
    }
    apply::commit(&instance, &session.context()?, plan, removal).await?;
    session.settle(instance).await?;
    Ok(session.output.result(&json, text)?)
}
