//! Grants as they are stored, with the names of what they reach.

use super::{ResolvedGrant, end_in_force};
use crate::{apply, error::Error, instance::Instance, seals};
use types::{Connection, Grant, Id, Timestamp};

/// A grant, with names.
#[derive(Debug)]
pub struct Listed {
    pub id: Id<Grant>,
    pub client: String,
    /// The slug of the provider that it reaches, whichever way it names it.
    pub provider: String,
    /// Set where it reaches one connection alone.
    pub connection: Option<Id<Connection>>,
    pub created_at: Timestamp,
    pub is_in_force: bool,
    pub grant: ResolvedGrant,
}

/// All grants, by the clients' names.
pub async fn list(instance: &Instance) -> Result<Vec<Listed>, Error> {
    let everything = seals::load_whole(instance).await?;
    let now = instance.clock.now();
    let grants = apply::stored(&everything.grants)?;
    let mut listed = Vec::new();
    for (row, grant) in everything.grants.iter().zip(grants) {
        let client = everything.clients.iter().find(|one| one.id == row.client);
        let connection = grant.connection.map(|id| id.0);
        let reached = connection.and_then(|id| everything.connections.iter().find(|c| c.id == id));
        let provider = grant.provider.map(|id| id.0).or_else(|| reached.map(|one| one.provider));
        let provider = everything.providers.iter().find(|one| Some(one.id) == provider);
        listed.push(Listed {
            id: row.id,
            client: client.map_or_else(|| row.client.to_string(), |one| one.name.to_string()),
            provider: provider.map_or_else(String::new, |one| one.slug.to_string()),
            connection,
            created_at: row.created_at,
            is_in_force: end_in_force(&grant, now).is_some(),
            grant,
        });
    }
    listed.sort_by(|a, b| (&a.client, &a.provider, a.id).cmp(&(&b.client, &b.provider, b.id)));
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        apply::{Removal, commit, plan_files},
        audit_log, clients, connections, demo, providers,
        seals_tests::{Home, ctx},
        sequence,
    };
    use types::{ManualClock, SecretText};

    /// What pages of the console read, over an installation as the demo makes it.
    #[tokio::test]
    async fn what_is_stored_is_listed_with_names_and_times() {
        let home = Home::new();
        let mut instance = home.init().await;
        let secret = SecretText::new("secret".to_owned());
        let (server, place) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
        let context = ctx();
        let seeded = demo::seed(&instance, &context, server, place, &secret).await.unwrap();
        let second = format!(
            "[[grant]]\nclient = \"newsletter\"\nconnection = \"{}\"\npurpose = \"p\"\n\
             expires = \"2999-12-31\"\nallow = [{{ object = \"Employee\", actions = [\"read\"], \
             fields = [\"id\"] }}]\n",
            seeded.connection
        );
        let first = "[[grant]]\nclient = \"payroll\"\nprovider = \"hr\"\npurpose = \"p\"\n\
                     expires = \"2998-12-31\"\nallow = [{ object = \"Employee\", actions = \
                     [\"read\"], fields = [\"id\"] }]\n";
        let files = [("a.toml".to_owned(), format!("{first}{second}").into_bytes())];
        let plan = plan_files(&instance, &files).await.unwrap();
        commit(&instance, &context, plan, Removal::SomeGrantsRemain).await.unwrap();

        let listed = list(&instance).await.unwrap();
        let seen: Vec<_> = listed
            .iter()
            .map(|one| (one.client.as_str(), one.provider.as_str(), one.connection))
            .collect();
        let connection = seeded.connection;
        assert_eq!(seen, [("newsletter", "hr", Some(connection)), ("payroll", "hr", None)]);
        assert!(listed.iter().all(|one| one.is_in_force && one.created_at == context.now));

        let client = clients::list(&instance).await.unwrap().remove(0);
        assert_eq!((client.created_at, client.keys[0].created_at), (context.now, context.now));
        assert_eq!(client.keys[0].revoked_at, None);
        clients::revoke_key(&instance, &context, client.keys[0].id).await.unwrap();
        let client = clients::list(&instance).await.unwrap().remove(0);
        assert_eq!(client.keys[0].revoked_at, Some(context.now));
        connections::revoke(&instance, &context, connection).await.unwrap();
        let shown = connections::list(&instance).await.unwrap().remove(0);
        assert_eq!((shown.scheme.as_str(), shown.created_at), ("bearerAuth", context.now));
        assert_eq!(shown.revoked_at, Some(context.now));
        assert_eq!(providers::list(&instance).await.unwrap()[0].imported_at, context.now);

        // The same through the log: what is signed is proven entry by entry, and nothing else is.
        sequence::settle(&instance).await.unwrap();
        let size = audit_log::signed_size(&instance.folder).unwrap();
        let mut walked = 0;
        audit_log::walk_back(&instance.folder, None, |index, record| {
            assert_eq!(audit_log::check_entry(&instance.folder, index).unwrap(), record);
            walked += 1;
            true
        })
        .unwrap();
        assert_eq!(walked, size);
        assert!(audit_log::check_entry(&instance.folder, size).is_err());

        // After the first one's last day, and before the second one's.
        let late = Timestamp::parse("2999-06-01T00:00:00Z").unwrap();
        instance.clock = std::sync::Arc::new(ManualClock::at(late));
        let in_force: Vec<_> =
            list(&instance).await.unwrap().iter().map(|one| one.is_in_force).collect();
        assert_eq!(in_force, [true, false]);
    }
}
