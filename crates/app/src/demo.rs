//! What the demo is made of: a provider, a connection, two clients and a grant, made by the same use
//! cases that an operator uses.

use crate::{clients, connections, error::Error, grants, instance::Instance, providers};
use sandbox::HR_DESCRIPTION;
use std::{collections::BTreeMap, time::Duration};
use types::{ApiKey, Connection, Date, Environment, Id, OpContext, SecretBytes, SecretText, Slug};

/// The granted fields of an employee.
pub const GRANTED: [&str; 8] = [
    "id",
    "firstName",
    "lastName",
    "workEmail",
    "jobTitle",
    "hireDate",
    "address.city",
    "jobs[].title",
];

const PROVIDER: &str = "hr";
const CLIENT: &str = "payroll";
const STRANGER: &str = "newsletter";
const CUSTOMER: &str = "acme";
const KEY_LIFE: Duration = Duration::from_hours(24);

/// What a demo can be tried with.
#[derive(Debug)]
pub struct Seeded {
    pub connection: Id<Connection>,
    /// Of the client with the grant.
    pub key: ApiKey,
    /// Of a client without any.
    pub stranger_key: ApiKey,
    /// Declared and not granted, as the gateway's header names them.
    pub withheld: Vec<String>,
}

/// Fills a fresh installation. `server` is the sandbox's base URL, `host_port` its address.
pub async fn seed(
    instance: &Instance,
    ctx: &OpContext,
    server: String,
    host_port: String,
    credential: &SecretText,
) -> Result<Seeded, Error> {
    let provider = slug(PROVIDER)?;
    let import = providers::Import {
        slug: provider.clone(),
        description: HR_DESCRIPTION.as_bytes().to_vec(),
        overlay: None,
        is_without_overlay: false,
        expects: None,
        server: Some(server),
        is_server_described: false,
        allow_private: vec![host_port],
        accepts_servers: false,
    };
    providers::import(instance, ctx, import).await?;
    let secret = serde_json::json!({"token": credential.expose()}).to_string();
    let create = connections::Create {
        provider: provider.clone(),
        customer: CUSTOMER.to_owned(),
        scheme: Some("bearerAuth".to_owned()),
        secret: SecretBytes::new(secret.into_bytes()),
        environment: Environment::Test,
        variables: BTreeMap::new(),
        headers: BTreeMap::new(),
        source: None,
    };
    let connection = connections::create(instance, ctx, create).await?.id;
    let mut keys = Vec::new();
    for name in [CLIENT, STRANGER] {
        let name = slug(name)?;
        clients::create(instance, ctx, &name).await?;
        keys.push(
            clients::create_key(instance, ctx, &name, Environment::Test, KEY_LIFE).await?.key,
        );
    }
    let missing = Error::Internal { what: "a key of the demo is missing" };
    let (Some(stranger_key), Some(key)) = (keys.pop(), keys.pop()) else { return Err(missing) };
    let file = grant_file(ctx);
    let plan =
        crate::apply::plan_files(instance, &[("demo.toml".to_owned(), file.into_bytes())]).await?;
    crate::apply::commit(instance, ctx, plan, crate::apply::Removal::SomeGrantsRemain).await?;
    let model = providers::show(instance, &provider).await?;
    Ok(Seeded {
        connection,
        key,
        stranger_key,
        withheld: grants::withheld(&model, "Employee", &GRANTED),
    })
}

fn slug(text: &str) -> Result<Slug, Error> {
    text.parse().map_err(|_| Error::Internal { what: "a name of the demo is no slug" })
}

/// The grant as an operator would write it. It ends with the day, as the keys do.
fn grant_file(ctx: &OpContext) -> String {
    let last_day = Date::of(ctx.now + KEY_LIFE).map_or_else(String::new, |day| day.to_string());
    let fields: Vec<String> = GRANTED.iter().map(|field| format!("\"{field}\"")).collect();
    format!(
        "[[grant]]\n\
         client = \"{CLIENT}\"\n\
         provider = \"{PROVIDER}\"\n\
         purpose = \"show what a grant lets through\"\n\
         expires = \"{last_day}\"\n\
         allow = [\n\
         \x20 {{ object = \"Employee\", actions = [\"read\"], fields = [{}] }},\n\
         \x20 {{ object = \"HeadcountReport\", actions = [\"read\"], fields = [\"*\"] }},\n\
         ]\n",
        fields.join(", ")
    )
}
