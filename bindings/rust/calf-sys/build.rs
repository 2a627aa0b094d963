// libcalf.so is in $CALF_LIB_DIR, else where the linker looks by itself.
fn main() {
    println!("cargo:rerun-if-env-changed=CALF_LIB_DIR");
    if let Ok(dir) = std::env::var("CALF_LIB_DIR") {
        println!("cargo:rustc-link-search=native={}", dir);
    }
    println!("cargo:rustc-link-lib=dylib=calf");
}
