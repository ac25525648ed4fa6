//! Reading secrets for plans (stamps) and for steps (values).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use futures_util::stream;
use holdfast_core::any_kind::PlannedStep;
use holdfast_core::kind::TargetError;
use holdfast_core::secret::{SecretDocument, SecretRef, Secrets, Stamp};
use tokio::time::Instant;

use crate::Engine;
use crate::budget::{Asked, Try};

/// The stamp of each reference, or why it has none.
pub(crate) type Stamps = BTreeMap<SecretRef, Result<Stamp, TargetError>>;

/// Secrets that are read at once.
const AT_ONCE: usize = 8;

/// Reads what the references name, each path once, and keeps nothing but stamps.
pub(crate) async fn stamps(engine: &Engine, references: &BTreeSet<SecretRef>, reason: Try) -> Stamps {
    let documents = read(engine, references, reason).await;
    let key = &engine.stamp_key;
    references
        .iter()
        .map(|reference| {
            let stamp =
                value_of(&documents, reference).map(|(document, value)| key.stamp(document.version, value));
            (reference.clone(), stamp)
        })
        .collect()
}

/// What reading values for steps gave.
pub(crate) enum Values {
    /// The values are those that were planned with.
    Ready(Secrets),
    /// A value changed since: plan again, with these stamps.
    Changed(Stamps),
    Failed(TargetError),
}

/// Reads the values that the steps need, and makes sure that they are those of the plan.
pub(crate) async fn values(engine: &Engine, steps: &[PlannedStep]) -> Values {
    let planned: BTreeSet<&SecretRef> = steps.iter().flat_map(|step| &step.secrets).collect();
    let references: BTreeSet<SecretRef> = planned.iter().map(|reference| reference.bare()).collect();
    let documents = read(engine, &references, Try::Again).await;
    let mut secrets = Secrets::default();
    let mut changed = Stamps::new();
    for reference in planned {
        let (document, value) = match value_of(&documents, reference) {
            Ok(found) => found,
            Err(error) => return Values::Failed(error),
        };
        let stamp = engine.stamp_key.stamp(document.version, value);
        if reference.stamp.as_ref().is_some_and(|planned| planned.digest != stamp.digest) {
            changed.insert(reference.bare(), Ok(stamp));
        }
        secrets.insert(reference, value.clone());
    }
    if changed.is_empty() { Values::Ready(secrets) } else { Values::Changed(changed) }
}

type Documents = BTreeMap<String, Result<SecretDocument, TargetError>>;

async fn read(engine: &Engine, references: &BTreeSet<SecretRef>, reason: Try) -> Documents {
    let paths: BTreeSet<String> = references.iter().map(|reference| reference.vault.clone()).collect();
    if paths.is_empty() {
        return Documents::new();
    }
    let store = engine.targets.secrets();
    let asked = Asked::secrets(store.target());
    if let Err(error) = engine.budget.ask(&asked, reason, Instant::now()) {
        return paths.into_iter().map(|path| (path, Err(error.clone()))).collect();
    }
    let documents: Documents = stream::iter(paths)
        .map(|path| {
            let store = &store;
            async move {
                let document = store.read(&path).await;
                (path, document)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // One that answers is there, whatever it says of a single path.
    let silent = |document: &Result<SecretDocument, TargetError>| {
        document.as_ref().err().filter(|error| error.is_unavailable()).cloned()
    };
    let away = documents.values().map(silent).collect::<Option<Vec<_>>>();
    let error = away.and_then(|errors| errors.into_iter().next());
    engine.budget.answered(&asked, error.as_ref(), Instant::now());
    documents
}

fn value_of<'a>(
    documents: &'a Documents,
    reference: &SecretRef,
) -> Result<(&'a SecretDocument, &'a secrecy::SecretString), TargetError> {
    let doing = || format!("reading the secret {reference}");
    match documents.get(&reference.vault) {
        Some(Ok(document)) => match document.values.get(&reference.key) {
            Some(value) => Ok((document, value)),
            None => Err(TargetError::rejected(
                doing(),
                "there is no such key; write it to vault, or correct the reference",
            )),
        },
        Some(Err(error)) => Err(error.clone()),
        None => Err(TargetError::unavailable(doing(), "it was not read")),
    }
}
