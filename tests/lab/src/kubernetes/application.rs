//! The schema of an Argo CD `Application`, after `manifests/crds/application-crd.yaml` of Argo CD 3.x.

use super::schema::Schema::{self, Bool, Int, IntOrText, Moment, Open, Text};
use super::schema::{any, list, map, object, required};

/// What an Application holds beside `apiVersion`, `kind` and `metadata`.
pub(super) fn schema() -> Schema {
    required(&["spec"], object([("spec", spec()), ("operation", operation()), ("status", status())]))
}

fn spec() -> Schema {
    let fields = object([
        ("destination", destination()),
        ("ignoreDifferences", ignore_differences()),
        ("info", list(pair())),
        ("project", Text),
        ("revisionHistoryLimit", Int),
        ("source", source()),
        ("sourceHydrator", source_hydrator()),
        ("sources", list(source())),
        ("syncPolicy", sync_policy()),
    ]);
    required(&["destination", "project"], fields)
}

fn destination() -> Schema {
    object([("name", Text), ("namespace", Text), ("server", Text)])
}

fn ignore_differences() -> Schema {
    let item = object([
        ("group", Text),
        ("jqPathExpressions", list(Text)),
        ("jsonPointers", list(Text)),
        ("kind", Text),
        ("managedFieldsManagers", list(Text)),
        ("name", Text),
        ("namespace", Text),
    ]);
    list(required(&["kind"], item))
}

fn pair() -> Schema {
    required(&["name", "value"], object([("name", Text), ("value", Text)]))
}

fn source() -> Schema {
    let fields = object([
        ("chart", Text),
        ("directory", directory()),
        ("helm", helm()),
        ("kustomize", kustomize()),
        ("name", Text),
        ("path", Text),
        ("plugin", plugin()),
        ("ref", Text),
        ("repoURL", Text),
        ("tagPrefix", Text),
        ("targetRevision", Text),
    ]);
    required(&["repoURL"], fields)
}

fn directory() -> Schema {
    let variable = || required(&["name", "value"], object([("code", Bool), ("name", Text), ("value", Text)]));
    object([
        ("disableExtensionFilter", Bool),
        ("exclude", Text),
        ("include", Text),
        (
            "jsonnet",
            object([("extVars", list(variable())), ("libs", list(Text)), ("tlas", list(variable()))]),
        ),
        ("recurse", Bool),
    ])
}

fn helm() -> Schema {
    object([
        ("apiVersions", list(Text)),
        ("fileParameters", list(object([("name", Text), ("path", Text)]))),
        ("ignoreMissingValueFiles", Bool),
        ("kubeVersion", Text),
        ("namespace", Text),
        ("parameters", list(object([("forceString", Bool), ("name", Text), ("value", Text)]))),
        ("passCredentials", Bool),
        ("releaseName", Text),
        ("skipCrds", Bool),
        ("skipSchemaValidation", Bool),
        ("skipTests", Bool),
        ("valueFiles", list(Text)),
        ("values", Text),
        ("valuesObject", Open),
        ("version", Text),
    ])
}

fn kustomize() -> Schema {
    let target = object([
        ("annotationSelector", Text),
        ("group", Text),
        ("kind", Text),
        ("labelSelector", Text),
        ("name", Text),
        ("namespace", Text),
        ("version", Text),
    ]);
    let patch = object([("options", map(Bool)), ("patch", Text), ("path", Text), ("target", target)]);
    let replica = required(&["count", "name"], object([("count", IntOrText), ("name", Text)]));
    object([
        ("apiVersions", list(Text)),
        ("commonAnnotations", map(Text)),
        ("commonAnnotationsEnvsubst", Bool),
        ("commonLabels", map(Text)),
        ("components", list(Text)),
        ("forceCommonAnnotations", Bool),
        ("forceCommonLabels", Bool),
        ("ignoreMissingComponents", Bool),
        ("images", list(Text)),
        ("kubeVersion", Text),
        ("labelIncludeTemplates", Bool),
        ("labelWithoutSelector", Bool),
        ("namePrefix", Text),
        ("nameSuffix", Text),
        ("namespace", Text),
        ("patches", list(patch)),
        ("replicas", list(replica)),
        ("version", Text),
    ])
}

fn plugin() -> Schema {
    let parameter = object([("array", list(Text)), ("map", map(Text)), ("name", Text), ("string", Text)]);
    object([("env", list(pair())), ("name", Text), ("parameters", list(parameter))])
}

fn source_hydrator() -> Schema {
    let dry = object([
        ("directory", directory()),
        ("helm", helm()),
        ("kustomize", kustomize()),
        ("path", Text),
        ("plugin", plugin()),
        ("repoURL", Text),
        ("targetRevision", Text),
    ]);
    let sync = object([("path", Text), ("repoURL", Text), ("targetBranch", Text)]);
    let fields = object([
        ("drySource", required(&["path", "repoURL", "targetRevision"], dry)),
        ("hydrateTo", required(&["targetBranch"], object([("targetBranch", Text)]))),
        ("syncSource", required(&["path", "targetBranch"], sync)),
    ]);
    required(&["drySource", "syncSource"], fields)
}

fn retry() -> Schema {
    let backoff = object([("duration", Text), ("factor", Int), ("maxDuration", Text)]);
    object([("backoff", backoff), ("limit", Int), ("refresh", Bool)])
}

fn sync_policy() -> Schema {
    let automated = object([("allowEmpty", Bool), ("enabled", Bool), ("prune", Bool), ("selfHeal", Bool)]);
    object([
        ("automated", automated),
        ("managedNamespaceMetadata", object([("annotations", map(Text)), ("labels", map(Text))])),
        ("retry", retry()),
        ("syncOptions", list(Text)),
    ])
}

fn operation() -> Schema {
    let resource = object([("group", Text), ("kind", Text), ("name", Text), ("namespace", Text)]);
    let force = || object([("force", Bool)]);
    let sync = object([
        ("autoHealAttemptsCount", Int),
        ("dryRun", Bool),
        ("manifests", list(Text)),
        ("prune", Bool),
        ("resources", list(required(&["kind", "name"], resource))),
        ("revision", Text),
        ("revisions", list(Text)),
        ("source", source()),
        ("sources", list(source())),
        ("syncOptions", list(Text)),
        ("syncStrategy", object([("apply", force()), ("hook", force())])),
    ]);
    object([
        ("info", list(pair())),
        ("initiatedBy", object([("automated", Bool), ("username", Text)])),
        ("retry", retry()),
        ("sync", sync),
    ])
}

fn status() -> Schema {
    let condition = object([("lastTransitionTime", Moment), ("message", Text), ("type", Text)]);
    let compared = object([
        ("destination", destination()),
        ("ignoreDifferences", ignore_differences()),
        ("source", source()),
        ("sources", list(source())),
    ]);
    let sync = object([
        ("comparedTo", required(&["destination"], compared)),
        ("revision", Text),
        ("revisions", list(Text)),
        ("status", Text),
    ]);
    object([
        ("conditions", list(required(&["message", "type"], condition))),
        ("controllerNamespace", Text),
        ("health", health()),
        ("history", list(any())),
        ("observedAt", Moment),
        ("operationState", operation_state()),
        ("reconciledAt", Moment),
        ("resourceHealthSource", Text),
        ("resources", list(resource_status())),
        ("sourceHydrator", any()),
        ("sourceType", Text),
        ("sourceTypes", list(Text)),
        ("summary", object([("externalURLs", list(Text)), ("images", list(Text)), ("isAppOfApps", Bool)])),
        ("sync", required(&["status"], sync)),
    ])
}

fn health() -> Schema {
    object([("lastTransitionTime", Moment), ("message", Text), ("status", Text)])
}

fn operation_state() -> Schema {
    let fields = object([
        ("finishedAt", Moment),
        ("message", Text),
        ("operation", operation()),
        ("phase", Text),
        ("retryCount", Int),
        ("startedAt", Moment),
        ("syncResult", any()),
    ]);
    required(&["operation", "phase", "startedAt"], fields)
}

fn resource_status() -> Schema {
    object([
        ("group", Text),
        ("health", health()),
        ("hook", Bool),
        ("kind", Text),
        ("name", Text),
        ("namespace", Text),
        ("requiresDeletionConfirmation", Bool),
        ("requiresPruning", Bool),
        ("status", Text),
        ("syncWave", Int),
        ("version", Text),
    ])
}
