//! `weirgate apply`.

use super::Session;
use crate::{cli::ApplyArgs, output::Failure};
use app::apply;

pub(crate) async fn apply(session: &Session, args: &ApplyArgs) -> Result<(), Failure> {
    let instance =
        if args.dry_run { session.instance().await? } else { session.instance_to_change().await? };
    let plan = apply::plan(&instance, &args.dir).await?;
    let text = plan.to_text(args.dry_run);
    let json = plan.to_json(args.dry_run);
    if args.dry_run {
        instance.close().await?;
    } else {
        apply::commit(&instance, &session.context()?, plan).await?;
        session.settle(instance).await?;
    }
    Ok(session.output.result(&json, &text)?)
}
