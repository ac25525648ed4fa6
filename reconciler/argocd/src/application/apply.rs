//! Acting on an Application: one request a step.

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, TargetError};
use serde_json::{Value, json};

use super::{Application, MARK, Step};

impl Application {
    /// Performs one step. What it gives is what the server warned of.
    pub(super) async fn perform(&self, name: &Name, step: &Step) -> Result<Option<String>, TargetError> {
        match step {
            Step::Apply { name: object, uid, object: wanted, .. } => {
                let doing = format!("applying application {object}");
                let marked = self.marked(name, object, uid.as_deref(), wanted);
                match self.client.apply(object, &marked, &doing).await {
                    Ok(answer) if answer.is_success() => Ok(answer.warning()),
                    Ok(answer) => Err(answer.error(&doing)),
                    Err(error) => Err(error),
                }
            }
            Step::KeepResources { name: object, finalizers, resource_version } => {
                let doing = format!("taking the cascade off application {object}");
                let answer = self.client.set_finalizers(object, finalizers, resource_version, &doing).await;
                gone_is_done(answer, &doing)
            }
            Step::Delete { name: object, uid, resource_version } => {
                let doing = format!("deleting application {object}");
                gone_is_done(self.client.delete(object, uid, resource_version, &doing).await, &doing)
            }
        }
    }

    /// The object with its identity and the mark. There is nothing in it but `metadata` and `spec`.
    ///
    /// A `metadata.uid` in what is applied serves as a precondition, and becomes no field of ours: where nothing is there
    /// the server answers 409, where another object is, 422 (`handlers/patch.go` of the API server; kubernetes#127625).
    fn marked(&self, name: &Name, object: &str, uid: Option<&str>, wanted: &Value) -> Value {
        let mut metadata = wanted["metadata"].clone();
        metadata["name"] = json!(object);
        metadata["namespace"] = json!(self.client.namespace());
        if let Some(uid) = uid {
            metadata["uid"] = json!(uid);
        }
        let mark = self.realm.mark(Self::NAME, name, self.object(object));
        metadata["annotations"][MARK] = json!(mark.to_string());
        json!({
            "apiVersion": Self::API_VERSION,
            "kind": Self::NAME.as_str(),
            "metadata": metadata,
            "spec": wanted["spec"],
        })
    }
}

/// What was to be removed and is not there is removed.
fn gone_is_done(
    answer: Result<crate::client::Answer, TargetError>,
    doing: &str,
) -> Result<Option<String>, TargetError> {
    match answer {
        Ok(answer) if answer.is_success() || answer.status == 404 => Ok(answer.warning()),
        Ok(answer) => Err(answer.error(doing)),
        Err(error) => Err(error),
    }
}
