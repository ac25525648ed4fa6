//! What a repository that is in order becomes.

use holdfast_core::desired::Desired;
use holdfast_core::ident::{EnvironmentName, ResourceId, SiteName};
use holdfast_core::text::{Piece, Text};
use serde_json::json;

use crate::kinds::{MachineSpec, machine, read_tree, tree};

fn id(text: &str) -> ResourceId {
    let core = EnvironmentName::new("core").expect("a label");
    ResourceId::parse_in(&core, text).expect("a resource")
}

fn names(desired: &Desired) -> Vec<String> {
    desired.order.iter().map(ToString::to_string).collect()
}

#[test]
fn a_site_is_read_with_needs_in_order_and_borrowed_resources() {
    let tree = tree(&[
        ("environments/core/a.yaml", &machine("a", "", "")),
        ("environments/core/sub/b.yml", &machine("b", "  dependsOn: [Machine/a]\n", "")),
        (
            "environments/core/environment.yaml",
            "apiVersion: holdfast/v1\nkind: Environment\nmetadata: { name: core }\nspec: { retire: [Machine/old] }\n",
        ),
        ("environments/core/notes.md", "not: [yaml"),
        ("environments/web/empty.yaml", "# nothing yet\n"),
        (
            "environments/web/c.yaml",
            &machine("c", "", "  address: { ref: core/Machine/b, output: address }\n"),
        ),
        (
            "environments/web/app.yaml",
            "apiVersion: apps.example/v1\nkind: App\nmetadata:\n  name: media\n  labels: { a: b }\n  annotations:\n    holdfast/depends-on: \"Machine/c, core/Machine/a\"\nspec:\n  project: default\n  source: { file: not-ours }\n",
        ),
    ]);
    let manifest = read_tree(&tree).unwrap();
    assert_eq!(manifest.name.as_str(), "home");
    let [(core_name, core), (web_name, web)] = manifest.site.environments.as_slice() else { panic!() };
    assert_eq!((core_name.as_str(), web_name.as_str()), ("core", "web"));
    assert_eq!(names(core), ["core/Machine/a", "core/Machine/b"]);
    assert_eq!(core.retire, [id("Machine/old")].into());
    assert_eq!(names(web), ["core/Machine/a", "core/Machine/b", "web/Machine/c", "web/App/media"]);
    let borrowed: Vec<bool> = web.order.iter().map(|id| web.resources[id].borrowed).collect();
    assert_eq!(borrowed, [true, true, false, false]);
    let app = &web.resources[&id("web/App/media")];
    assert_eq!(app.needs, [id("web/Machine/c"), id("core/Machine/a")].into());
    assert_eq!(app.spec["metadata"]["labels"], json!({ "a": "b" }));
    assert_eq!(app.spec["spec"]["source"], json!({ "file": "not-ours" }));
    assert_eq!((app.declared.path.as_str(), app.declared.line), ("environments/web/app.yaml", 4));
    assert_eq!(manifest.warnings, []);
}

#[test]
fn files_and_templates_become_texts() {
    let spec = "  files:\n    - { path: /a, content: plain }\n    - { path: /b, content: { file: files/motd } }\n    - { path: /c, content: { template: files/conf, vars: { name: kube, on: [1, 2] } } }\n    - { path: /d, content: { template: files/plain } }\n    - { path: /e, content: { vault: kv/a, key: k } }\n";
    let tree = tree(&[
        ("environments/core/a.yaml", &machine("a", "", spec)),
        ("files/motd", "hello\n"),
        (
            "files/conf",
            "name={{ name }}\n{% for n in on %}\nn={{ n }}\n{% endfor %}\np={{ vault(\"kv/web\", \"password\") }};{{ vault('kv/web', 'user') }}\n",
        ),
        ("files/plain", "{# nothing #}<b>&</b>\n"),
    ]);
    let manifest = read_tree(&tree).unwrap();
    let machine = &manifest.site.environments[0].1.resources[&id("Machine/a")];
    let spec: MachineSpec = serde_json::from_value(machine.spec.clone()).unwrap();
    let texts: Vec<Text> = spec.files.into_iter().map(|file| file.content).collect();
    assert_eq!(texts[0], Text::Plain("plain".to_owned()));
    assert_eq!(texts[1], Text::Plain("hello\n".to_owned()));
    let Text::Pieces { pieces } = &texts[2] else { panic!("{:?}", texts[2]) };
    assert_eq!(pieces[0], Piece::Plain("name=kube\nn=1\nn=2\np=".to_owned()));
    assert_eq!(pieces[2], Piece::Plain(";".to_owned()));
    let secrets: Vec<String> = texts[2].secrets().iter().map(ToString::to_string).collect();
    assert_eq!(secrets, ["kv/web#password", "kv/web#user"]);
    assert_eq!(texts[3], Text::Plain("<b>&</b>\n".to_owned()));
    assert!(matches!(&texts[4], Text::Secret(reference) if reference.key == "k"));
}

#[test]
fn a_template_cannot_forge_or_change_the_place_of_a_secret() {
    let spec = "  files:\n    - { path: /c, content: { template: files/t } }\n";
    for template in [
        "{{ vault('kv/web', 'password') | upper }}",
        "{{ vault('kv/web', 'password')[1:] }}",
        "{{ vault('kv/web', 'password') | list | join('-') }}",
        "{{ vault('', 'password') }}",
        "\u{10fffd}0.0\u{10fffd}",
    ] {
        let tree = tree(&[("environments/core/a.yaml", &machine("a", "", spec)), ("files/t", template)]);
        let problems = read_tree(&tree).expect_err(template);
        assert_eq!(problems.count(), 1, "{template}: {}", problems.render(&tree));
    }
}

#[test]
fn templates_calculate_with_what_is_certainly_no_list() {
    let template = "{{ memory * 1024 }} {{ ports[0] + 1 }} {{ net.mask + 1 }}{% for p in ports %} {{ p + loop.index }}{% endfor %}{% for i in range(2) %} {{ i * 2 }}{% endfor %}{% set x = memory %}{% set x = x + x %} {{ x }} {{ 'a' * 3 }} {{ ['a', name] | join('-') }} {{ name | default('b') ~ 1 }}\n";
    let spec = "  files:\n    - path: /c\n      content: { template: files/t, vars: { memory: 2, ports: [80, 443], net: { mask: 24 }, name: n } }\n";
    let tree = tree(&[("environments/core/a.yaml", &machine("a", "", spec)), ("files/t", template)]);
    let manifest = match read_tree(&tree) {
        Ok(manifest) => manifest,
        Err(problems) => panic!("{}", problems.render(&tree)),
    };
    let spec = &manifest.site.environments[0].1.resources[&id("Machine/a")].spec;
    assert_eq!(spec["files"][0]["content"], "2048 81 25 81 445 0 2 4 aaa a-n n1\n");
}

#[test]
fn many_documents_are_read_and_linked() {
    let mut files = Vec::new();
    for file in 0..250 {
        let documents: Vec<String> = (0..10)
            .map(|n| {
                let number = file * 10 + n;
                let needs = match number {
                    0 => String::new(),
                    _ => format!("  dependsOn: [Machine/m{:04}, Machine/m{:04}]\n", number - 1, number / 2),
                };
                machine(&format!("m{number:04}"), &needs, "")
            })
            .collect();
        files.push((format!("environments/core/{file:03}.yaml"), documents.join("---\n")));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let manifest = read_tree(&tree(&files)).unwrap();
    let desired = &manifest.site.environments[0].1;
    assert_eq!(desired.order.len(), 2_500);
    assert_eq!(desired.order[2_499], id("Machine/m2499"));
}

#[test]
fn a_repository_without_environments_is_in_order() {
    let site = format!("{}spec: {{ environments: [] }}\n", crate::kinds::SITE);
    let manifest = read_tree(&tree(&[("holdfast.yaml", &site)])).unwrap();
    assert!(manifest.site.environments.is_empty());
}

#[test]
fn another_site_is_told_where_its_name_stands() {
    let tree = tree(&[("environments/core/a.yaml", &machine("a", "", ""))]);
    let manifest = read_tree(&tree).unwrap();
    assert_eq!(manifest.expect_site(&SiteName::new("home").unwrap(), &tree), Ok(()));
    let problems = manifest.expect_site(&SiteName::new("cabin").unwrap(), &tree).unwrap_err();
    assert_eq!(
        problems.headline(),
        "the repository is of site `home`, but site `cabin` is served (holdfast.yaml:3)",
    );
}
