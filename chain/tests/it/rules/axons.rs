//! Where neurons are reached.

use super::*;

#[test]
fn axons_are_checked_in_the_chains_order() {
    let mut world = World::peopled(Hyperparameters {
        loopback_axons: false,
        ..params()
    });
    assert_eq!(
        world.serve(99, "127.0.0.1", 0),
        Err(Refusal::HotKeyNotRegisteredInNetwork)
    );
    world.serve(4, "203.0.113.7", 8091).unwrap();
    // Address, then rate, then port.
    for ip in [
        "127.0.0.1",
        "::1",
        "255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert_eq!(world.serve(4, ip, 0), Err(Refusal::InvalidIpAddress), "{ip}");
    }
    assert_eq!(
        world.serve(4, "0.0.0.0", 0),
        Err(Refusal::ServingRateLimitExceeded { retry_at_block: 4 })
    );
    world.blocks(2);
    assert_eq!(
        world.serve(4, "0.0.0.0", 1),
        Err(Refusal::ServingRateLimitExceeded { retry_at_block: 4 })
    );
    world.block();
    assert_eq!(world.serve(4, "0.0.0.0", 0), Err(Refusal::InvalidPort));
    world.serve(4, "2001:db8::7", 1).unwrap();
    let served = world.0.by_hotkey(&key(4)).unwrap().axon.unwrap();
    assert_eq!((served.block, served.info), (4, axon("2001:db8::7", 1)));
}

#[test]
fn a_development_ledger_takes_loopback_axons() {
    let mut world = World::peopled(params());
    world.serve(4, "127.0.0.1", 8091).unwrap();
    world.serve(5, "::1", 8091).unwrap();
}
