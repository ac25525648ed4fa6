//! Tells the tests whether the code is optimised: thousands of seeds are run only then.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(holdfast_many_seeds)");
    if std::env::var_os("OPT_LEVEL").is_some_and(|level| level != "0") {
        println!("cargo::rustc-cfg=holdfast_many_seeds");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
