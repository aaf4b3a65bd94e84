// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.28;

import {IERC20} from "./IERC20.sol";
import {ServicePayment} from "./ServicePayment.sol";

/// @title Creates the payment contracts of protected protocols, one for each (creator, protocol).
contract ServicePaymentFactory {
    /// @notice The service that `creator` made for `protocol`; zero when there is none.
    mapping(address creator => mapping(bytes32 protocol => ServicePayment)) public serviceOf;

    /// @notice `creator` made `service` for `protocol`.
    event Created(
        address indexed creator, bytes32 indexed protocol, ServicePayment service, IERC20 token, uint256 rate, uint256 start
    );

    /// @notice The caller has made `service` for this protocol already.
    error Exists(ServicePayment service);

    /// @notice Makes the caller's service for `protocol` (a name of its own choice, hashed or left-aligned).
    function create(bytes32 protocol, IERC20 token, address[] calldata payees, uint256 rate, uint256 start)
        external
        returns (ServicePayment service)
    {
        service = serviceOf[msg.sender][protocol];
        if (address(service) != address(0)) revert Exists(service);
        // CREATE2: the address is known before, and is nobody else's.
        service = new ServicePayment{salt: keccak256(abi.encode(msg.sender, protocol))}(token, payees, rate, start);
        serviceOf[msg.sender][protocol] = service;
        emit Created(msg.sender, protocol, service, token, rate, start);
    }
}
