//! What a person shows beside a password: enrolled by its owner, and never the last one given up.

use super::{
    EMAIL, FACTOR, PENDING, Person, SEED, is_second, keyed, notices, sessions::SignedIn, text,
};
use crate::{
    change::{Care, Change, Changing, hex},
    error::Error,
    instance::Instance,
    people::sign_in::full_session,
};
use identity::{RecoveryCode, SessionToken, TotpSeed};
use store::FactorRow;
use types::{
    Factor, FactorKind, Id, OpContext, SecretBytes, SecretText, SessionLevel, Timestamp, User,
};

/// As it stands in an authenticator app.
const ISSUER: &str = "Weirgate";
const MAX_NAME_CHARS: usize = 60;
/// Apps, keys and passkeys of one person.
pub(crate) const MAX_FACTORS: usize = 10;

/// A seed at the only moment when it is shown.
#[derive(Debug)]
pub struct NewTotp {
    pub id: Id<Factor>,
    pub uri: SecretText,
    /// For a camera.
    pub qr_svg: SecretText,
    /// For those who type.
    pub spelled: SecretText,
}

/// Whether this session may change factors: one that enrols its first, or one that is stepped up.
fn may_change(signed_in: &SignedIn, now: Timestamp) -> Result<(), Error> {
    match signed_in.level {
        SessionLevel::Enrol => Ok(()),
        SessionLevel::Full if signed_in.is_stepped_up(now) => Ok(()),
        SessionLevel::Full => Err(Error::StepUpNeeded),
        SessionLevel::Password => Err(Error::FactorRefused),
    }
}

/// The person, whose session must still be of the kind that it was: enrolment is over once there is
/// a factor.
pub(crate) async fn owner(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    signed_in: &SignedIn,
) -> Result<Person, Error> {
    may_change(signed_in, ctx.now)?;
    let person = Person::find(instance, changing, signed_in.user).await?;
    if signed_in.level == SessionLevel::Enrol && person.has_second_factor() {
        return Err(Error::FactorRefused);
    }
    Ok(person)
}

/// Begins to enrol an authenticator app: it counts once its owner has shown a code. One that was begun
/// before is forgotten.
pub async fn begin_totp(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
) -> Result<NewTotp, Error> {
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = owner(instance, &mut changing, ctx, signed_in).await?;
    for old in person.factors.iter().filter(|one| one.body == PENDING) {
        changing.tx.delete_sealed(FACTOR, &old.id.to_bytes()).await?;
        changing.tx.delete_factor(old.id).await?;
    }
    if person.factors.iter().filter(|one| is_second(one)).count() >= MAX_FACTORS {
        return Err(Error::TooManyFactors { limit: MAX_FACTORS });
    }
    let seed = TotpSeed::generate(instance.random.as_ref())?;
    let row = FactorRow {
        id: Id::generate(ctx.now, instance.random.as_ref())?,
        user: person.row.id,
        kind: FactorKind::Totp,
        name: "authenticator app".into(),
        body: PENDING.into(),
        created_at: ctx.now,
        used: None,
    };
    changing.tx.put_factor(&row).await?;
    let value = SecretBytes::new(seed.expose().to_vec());
    person.seal(instance, &mut changing, (FACTOR, row.id.to_bytes(), SEED), &value).await?;
    let address = person.opened(instance, &mut changing, person.place(EMAIL)).await?;
    let address = address.map_or_else(|| person.row.id.to_string(), |address| text(&address));
    changing.record(factor_change("factor.begin", &row));
    let made = NewTotp {
        id: row.id,
        uri: seed.uri(ISSUER, &address)?,
        qr_svg: seed.qr_svg(ISSUER, &address)?,
        spelled: seed.spelled(),
    };
    changing.commit().await?;
    Ok(made)
}

/// What enrolment ends with.
#[derive(Debug)]
pub struct Enrolled {
    /// In place of the session that enrolled.
    pub session: SessionToken,
    /// With the first factor; shown once.
    pub recovery: Option<Vec<SecretText>>,
}

/// Takes an authenticator app that was begun, by a code that it shows. The first factor opens
/// everything, and brings codes for recovery.
pub async fn confirm_totp(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    code: &str,
    name: &str,
) -> Result<Enrolled, Error> {
    let name = factor_name(name, "authenticator app")?;
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = owner(instance, &mut changing, ctx, signed_in).await?;
    let pending = person.factors.iter().find(|one| one.body == PENDING);
    let pending = pending.ok_or(Error::FactorRefused)?;
    let place = (FACTOR, pending.id.to_bytes(), SEED);
    let missing = Error::Internal { what: "a seed is missing" };
    let seed = person.opened(instance, &mut changing, place).await?.ok_or(missing)?;
    let seed = TotpSeed::from_bytes(seed).map_err(|_| Error::FactorRefused)?;
    let step = seed.check(code, ctx.now, None).map_err(|_| Error::FactorRefused)?;
    let row = FactorRow {
        body: String::new(),
        name,
        used: i64::try_from(step.number()).ok(),
        ..pending.clone()
    };
    changing.tx.put_factor(&row).await?;
    let enrolled = enrolled(instance, &mut changing, ctx, &person, signed_in, &row).await?;
    changing.commit().await?;
    Ok(enrolled)
}

/// What a factor that was just put leads to.
pub(crate) async fn enrolled(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    person: &Person,
    signed_in: &SignedIn,
    row: &FactorRow,
) -> Result<Enrolled, Error> {
    changing.record(factor_change("factor.enrol", row));
    let is_first = !person.has_second_factor();
    if !is_first {
        let what = format!("{} \u{201c}{}\u{201d} was added", kind_in_words(row.kind), row.name);
        notices::tell(instance, changing, ctx, row.user, what).await?;
    }
    let recovery =
        if is_first { Some(new_codes(instance, changing, ctx, person).await?) } else { None };
    let session = full_session(instance, changing, ctx, person, signed_in, "enrolment").await?;
    Ok(Enrolled { session, recovery })
}

/// New codes for recovery; those before count no more.
pub async fn replace_recovery_codes(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
) -> Result<Vec<SecretText>, Error> {
    if signed_in.level != SessionLevel::Full {
        return Err(Error::FactorRefused);
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = owner(instance, &mut changing, ctx, signed_in).await?;
    let codes = new_codes(instance, &mut changing, ctx, &person).await?;
    let what = "new recovery codes were made, and those before count no more".to_owned();
    notices::tell(instance, &mut changing, ctx, signed_in.user, what).await?;
    changing.commit().await?;
    Ok(codes)
}

async fn new_codes(
    instance: &Instance,
    changing: &mut Changing<'_>,
    ctx: &OpContext,
    person: &Person,
) -> Result<Vec<SecretText>, Error> {
    for old in person.factors.iter().filter(|one| one.kind == FactorKind::Recovery) {
        changing.tx.delete_factor(old.id).await?;
    }
    let codes = RecoveryCode::generate_set(instance.random.as_ref())?;
    for (number, code) in codes.iter().enumerate() {
        let row = FactorRow {
            id: Id::generate(ctx.now, instance.random.as_ref())?,
            user: person.row.id,
            kind: FactorKind::Recovery,
            name: format!("recovery code {}", number + 1),
            body: hex(code.digest(&keyed(instance)).as_bytes()),
            created_at: ctx.now,
            used: None,
        };
        changing.tx.put_factor(&row).await?;
    }
    changing.record(Change {
        verb: "factor.recovery_codes",
        what: format!("user {}", person.row.id),
        details: vec![("codes", codes.len().to_string())],
        ..Change::default()
    });
    Ok(codes.iter().map(RecoveryCode::grouped).collect())
}

/// Gives a factor up; never the last one beside the password.
pub async fn remove(
    instance: &Instance,
    ctx: &OpContext,
    signed_in: &SignedIn,
    id: Id<Factor>,
) -> Result<(), Error> {
    if signed_in.level != SessionLevel::Full {
        return Err(Error::FactorRefused);
    }
    let mut changing = Changing::begin(instance, ctx, Care::Whole).await?;
    let person = owner(instance, &mut changing, ctx, signed_in).await?;
    let found = person.factors.iter().find(|one| one.id == id);
    let not_found = || Error::NotFound { kind: "factor", name: id.to_string() };
    let factor = found.filter(|one| one.kind != FactorKind::Recovery).ok_or_else(not_found)?;
    let others = person.factors.iter().filter(|one| one.id != id && is_second(one)).count();
    if others == 0 && is_second(factor) {
        return Err(Error::LastFactor);
    }
    changing.tx.delete_sealed(FACTOR, &id.to_bytes()).await?;
    changing.tx.delete_factor(id).await?;
    changing.record(factor_change("factor.remove", factor));
    let what =
        format!("{} \u{201c}{}\u{201d} was removed", kind_in_words(factor.kind), factor.name);
    notices::tell(instance, &mut changing, ctx, signed_in.user, what).await?;
    changing.commit().await.map(drop)
}

/// A factor as its owner sees it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: Id<Factor>,
    pub kind: FactorKind,
    pub name: String,
    pub created_at: Timestamp,
}

/// A person's factors that are in force, and how many codes for recovery are left.
pub async fn list(instance: &Instance, user: Id<User>) -> Result<(Vec<Listed>, usize), Error> {
    let people = super::now(instance).await?;
    let own: Vec<_> = people.factors.iter().filter(|one| one.user == user).collect();
    let left = own.iter().filter(|one| one.kind == FactorKind::Recovery && one.used.is_none());
    let listed = own.iter().filter(|one| is_second(one)).map(|one| Listed {
        id: one.id,
        kind: one.kind,
        name: one.name.clone(),
        created_at: one.created_at,
    });
    Ok((listed.collect(), left.count()))
}

fn kind_in_words(kind: FactorKind) -> &'static str {
    match kind {
        FactorKind::Totp => "the authenticator app",
        FactorKind::Passkey => "the passkey",
        FactorKind::Recovery => "the recovery code",
    }
}

fn factor_change(verb: &'static str, row: &FactorRow) -> Change {
    Change {
        verb,
        what: format!("factor {}", row.id),
        details: vec![("user", row.user.to_string()), ("kind", row.kind.to_string())],
        ..Change::default()
    }
}

pub(crate) fn factor_name(name: &str, otherwise: &str) -> Result<String, Error> {
    let name = name.trim();
    let is_plain = !name.chars().any(char::is_control);
    if name.is_empty() {
        return Ok(otherwise.to_owned());
    }
    if !is_plain || name.chars().count() > MAX_NAME_CHARS {
        return Err(Error::PersonName { limit: MAX_NAME_CHARS });
    }
    Ok(name.to_owned())
}
