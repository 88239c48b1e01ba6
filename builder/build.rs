//! Has the static program linked so that it takes little memory, see hot.ld. Other programs are linked
//! as usual.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=hot.ld");
    let of_target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    let is_static = of_target("FEATURE").split(',').any(|feature| feature == "crt-static");
    if is_static && of_target("OS") == "linux" && of_target("ENV") == "gnu" {
        let script = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("hot.ld");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
