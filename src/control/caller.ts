import { BlockList, isIPv6, type Socket } from 'node:net';
import type { ControlCaller } from './api.js';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** What is told of a connection whose other end is not known any more. */
const UNKNOWN_ADDRESS = 'unknown';

/** What is told of a connection that this machine makes to one of its own addresses. */
const THIS_MACHINE = '127.0.0.1';

/**
 * Where a connection comes from: a remote address, or '' for a unix socket. To be asked when it begins. Who connects to
 * an address of a machine from that same address is on that machine: from elsewhere the kernel takes no such packets.
 */
export function addressOf(socket: Socket): string {
  const { remoteAddress, localAddress, destroyed } = socket;
  if (remoteAddress !== undefined) return remoteAddress === localAddress ? THIS_MACHINE : remoteAddress;
  // A unix socket has neither address. A TCP connection that was reset has lost one of them: it came from anywhere.
  return localAddress === undefined && !destroyed ? '' : UNKNOWN_ADDRESS;
}

/** Who calls from an address, as `addressOf` gives it. */
export function callerAt(address: string): ControlCaller {
  return { local: address === '' || isLoopback(address) };
}

/** IPv4 over a socket for both protocols is written ::ffff:127.0.0.1, which counts as 127.0.0.1. */
function isLoopback(address: string): boolean {
  return address !== UNKNOWN_ADDRESS && loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}
