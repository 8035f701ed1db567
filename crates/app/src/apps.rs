//! A provider's app: the company's registration with the provider (RFC 6749 §2), which its connections
//! share. It lies in the vault under the company's own key.

use crate::{
    change::{Care, Change, Changing},
    customers,
    error::Error,
    instance::{Instance, SELF_CUSTOMER},
    placement, providers,
    tokens::{APP_COLUMN, APP_TABLE, open_app},
};
use provider::LoadLimits;
use types::{Id, OpContext, Provider, SecretBytes, Slug};
use vault::Credential;

/// Seals a provider's app, in place of the one before.
///
/// # Errors
/// [`Error::AppUseless`] for a provider without OAuth 2.0, [`Error::Credential`] for a secret that its
/// plans do not know.
pub async fn set(
    instance: &Instance,
    ctx: &OpContext,
    slug: &Slug,
    secret: &SecretBytes,
) -> Result<String, Error> {
    let row = providers::row(instance, slug).await?;
    let model = provider::load(&row.description, row.overlay.as_deref(), &LoadLimits::default())?;
    if model.auth.values().all(|plan| plan.oauth2().is_none()) {
        return Err(Error::AppUseless);
    }
    let app = Credential::parse_for(secret, &placement::inputs(&model))?;
    if app.member("client_id").is_none() {
        return Err(vault::CredentialError::InputMissing {
            scheme: "app".to_owned(),
            name: "client_id".to_owned(),
        }
        .into());
    }
    // What somebody consented to is a connection's alone.
    if app.member("refresh_token").is_some() {
        return Err(vault::CredentialError::InputUnused {
            scheme: "app".to_owned(),
            name: "refresh_token".to_owned(),
        }
        .into());
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let tx = &mut changing.tx;
    let owner = customers::find_or_create(instance, tx, ctx, SELF_CUSTOMER).await?;
    let record = row.id.to_bytes();
    let version = tx.sealed(APP_TABLE, &record, APP_COLUMN).await?.map_or(0, |row| row.version);
    let place = (APP_TABLE, &record, APP_COLUMN);
    let sealed = instance.seal_version(&owner.key, place, version + 1, &app.to_record_bytes())?;
    tx.put_sealed(&sealed).await?;
    changing.record(Change {
        verb: "provider.app_set",
        what: format!("provider {}", row.id),
        details: vec![("version", (version + 1).to_string())],
        ..Change::default()
    });
    changing.commit().await?;
    Ok(instance.secrets.pepper.fingerprint(&app))
}

/// Forgets a provider's app: tokens that need it are not renewed any more.
pub async fn remove(instance: &Instance, ctx: &OpContext, slug: &Slug) -> Result<(), Error> {
    let row = providers::row(instance, slug).await?;
    let mut changing = Changing::begin(instance, ctx, Care::Ending).await?;
    let record = row.id.to_bytes();
    if changing.tx.sealed(APP_TABLE, &record, APP_COLUMN).await?.is_none() {
        return Err(Error::NameUnknown { kind: "app of a provider" });
    }
    changing.tx.delete_sealed(APP_TABLE, &record).await?;
    changing.record(Change {
        verb: "provider.app_remove",
        what: format!("provider {}", row.id),
        ..Change::default()
    });
    changing.commit().await.map(drop)
}

/// A provider's app, opened; `None`: there is none.
pub(crate) async fn find(
    instance: &Instance,
    provider: Id<Provider>,
) -> Result<Option<Credential>, Error> {
    let rows = crate::seals::load_whole(instance).await?;
    let record = provider.to_bytes();
    let is_app = |row: &&store::SealedRow| {
        row.table == APP_TABLE && row.column == APP_COLUMN && row.record == record
    };
    let Some(app) = rows.sealed.iter().find(is_app) else { return Ok(None) };
    let owner = rows.customers.iter().find(|owner| owner.id == app.customer);
    let owner = owner.ok_or(Error::Internal { what: "an app's owner is missing" })?;
    open_app(instance, app, owner).map(Some)
}
