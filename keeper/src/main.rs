//! The `keeper` binary.

fn main() {
    println!("{}", env!("CARGO_PKG_NAME"));
}
