//! Applying and deleting: exactly which requests go out, and what a refusal becomes.

use holdfast_core::any_kind::{AnyKind, PlannedStep};
use holdfast_core::kind::{Next, NoFence, Owner, Seen, StepResult};
use holdfast_core::secret::Secrets;
use serde_json::{Value, json};

use crate::server::{Server, list, name, ours, spec, status, wanted};

const PATH: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/media";

async fn apply(kind: &dyn AnyKind, steps: &[PlannedStep]) -> Vec<StepResult> {
    kind.apply(&name("media"), steps, &Secrets::default(), &NoFence).await
}

fn plan(kind: &dyn AnyKind, want: Option<&Value>, seen: Option<&Value>) -> Vec<PlannedStep> {
    match (kind.info().plan)(&name("media"), want, seen) {
        Next::Do(steps) => steps,
        other => panic!("{other:?}"),
    }
}

async fn seen(server: &Server, kind: &dyn AnyKind, object: Value) -> Value {
    server.says(200, &list(&[object], ""));
    let look = kind.observe(holdfast_core::kind::Scope::All, [(name("media"), wanted())].into()).await;
    server.take();
    match &look.seen[&name("media")] {
        Seen::Present { state, owner: Owner::Ours(_) } => state.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_apply_is_server_side_without_force_and_holds_no_status() {
    let server = Server::start().await;
    let kind = server.kind();
    let mut manifest = wanted();
    manifest["status"] = json!({ "health": { "status": "Healthy" } });
    manifest["metadata"]["annotations"] = json!({ "holdfast/depends-on": "Host/a", "note": "x" });
    server.says(201, &ours("media"));
    assert_eq!(apply(&*kind, &plan(&*kind, Some(&manifest), None)).await, [StepResult::DONE]);
    let asked = server.take();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, format!("PATCH {PATH}?&fieldManager=holdfast&fieldValidation=Strict"));
    assert_eq!(asked[0].content_type, "application/apply-patch+yaml");
    let expected = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "media",
            "namespace": "argocd",
            "labels": { "team": "media" },
            "annotations": { "holdfast/mark": "home/core/Application/media@argocd/media", "note": "x" },
        },
        "spec": spec(),
    });
    assert_eq!(asked[0].body, expected);
}

#[tokio::test]
async fn a_field_of_another_manager_is_reported_and_never_taken() {
    let server = Server::start().await;
    let kind = server.kind();
    let mut conflict = status(
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using argoproj.io/v1alpha1: .spec.project",
    );
    conflict["reason"] = json!("Conflict");
    conflict["details"] = json!({ "causes": [{
        "reason": "FieldManagerConflict",
        "message": "conflict with \"kubectl-edit\" using argoproj.io/v1alpha1",
        "field": ".spec.project",
    }] });
    server.says(409, &conflict);
    let [StepResult::Failed(error)] = &apply(&*kind, &plan(&*kind, Some(&wanted()), None)).await[..] else {
        panic!()
    };
    assert!(!error.is_unavailable());
    assert_eq!(
        error.to_string(),
        "applying application media: `kubectl-edit` manages .spec.project; take the field out of the manifest, or let that manager give it up"
    );
    assert_eq!(server.take().len(), 1);
}

#[tokio::test]
async fn what_the_server_refuses_is_said_in_its_words() {
    let server = Server::start().await;
    let kind = server.kind();
    let steps = plan(&*kind, Some(&wanted()), None);
    let strict = "strict decoding error: unknown field \"spec.sourec\"";
    for (code, message) in [
        (400, strict),
        (422, "Application.argoproj.io \"media\" is invalid: spec.destination: Required value"),
        (403, "applications.argoproj.io \"media\" is forbidden"),
        (404, "namespaces \"argocd\" not found"),
    ] {
        server.says(code, &status(message));
        let [StepResult::Failed(error)] = &apply(&*kind, &steps).await[..] else { panic!() };
        assert!(!error.is_unavailable());
        assert_eq!(
            error.to_string(),
            format!("applying application media: the kubernetes api answered {code}: {message}")
        );
    }
}

#[tokio::test]
async fn an_update_names_the_very_object_that_was_seen() {
    let server = Server::start().await;
    let kind = server.kind();
    let mut object = ours("media");
    object["spec"]["project"] = json!("other");
    let state = seen(&server, &*kind, object).await;
    let steps = plan(&*kind, Some(&wanted()), Some(&state));
    let mut other = status("metadata.uid: Invalid value: \"uid-media\": field is immutable");
    other["details"] = json!({ "causes": [{ "field": "metadata.uid", "reason": "FieldValueInvalid" }] });
    let gone = "uid mismatch: the provided object specified uid uid-media, and no existing object was found";
    for (code, answer) in [(422, other), (409, status(gone))] {
        server.says(code, &answer);
        let [StepResult::Failed(error)] = &apply(&*kind, &steps).await[..] else { panic!() };
        assert!(error.is_unavailable(), "it is another object by now: {error}");
        assert_eq!(server.take()[0].body["metadata"]["uid"], "uid-media");
    }
}

#[tokio::test]
async fn the_cascade_is_taken_off_alone_from_the_very_version() {
    let server = Server::start().await;
    let kind = server.kind();
    let mut object = ours("media");
    object["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io", "other.io/keep"]);
    let state = seen(&server, &*kind, object).await;
    let steps = plan(&*kind, None, Some(&state));
    server.says(200, &ours("media"));
    assert_eq!(apply(&*kind, &steps).await, [StepResult::DONE], "what is deleted is looked at again first");
    let asked = server.take();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, format!("PATCH {PATH}?&fieldManager=holdfast"));
    assert_eq!(asked[0].content_type, "application/merge-patch+json");
    assert_eq!(
        asked[0].body,
        json!({ "metadata": { "finalizers": ["other.io/keep"], "resourceVersion": "7" } })
    );
    let conflict = status(
        "Operation cannot be fulfilled on applications.argoproj.io \"media\": the object has been modified",
    );
    server.says(409, &conflict);
    let [StepResult::Failed(error)] = &apply(&*kind, &steps).await[..] else { panic!() };
    assert!(error.is_unavailable(), "a new look helps: {error}");
    server.says(404, &status("not found"));
    assert_eq!(apply(&*kind, &steps).await, [StepResult::DONE], "gone is done");
}

#[tokio::test]
async fn without_a_cascade_one_request_deletes_the_very_version() {
    let server = Server::start().await;
    let kind = server.kind();
    let state = seen(&server, &*kind, ours("media")).await;
    let steps = plan(&*kind, None, Some(&state));
    server.says(200, &status(""));
    assert_eq!(apply(&*kind, &steps).await, [StepResult::DONE]);
    let asked = server.take();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, format!("DELETE {PATH}?"));
    assert_eq!(asked[0].body, json!({ "preconditions": { "uid": "uid-media", "resourceVersion": "7" } }));
    for message in [
        "Precondition failed: UID in precondition: uid-media, UID in object meta: other",
        "the ResourceVersion in the precondition (7) does not match the ResourceVersion in record (8). The object might have been modified",
    ] {
        server.says(409, &status(message));
        let [StepResult::Failed(error)] = &apply(&*kind, &steps).await[..] else { panic!() };
        assert!(error.is_unavailable(), "it changed: {error}");
        assert_eq!(server.take().len(), 1);
    }
    server.says(404, &status("not found"));
    assert_eq!(apply(&*kind, &steps).await, [StepResult::DONE], "gone is done");
}
