/** Addresses as the protocol stores them: 16 bytes, an IPv4 address in the last four. */
import { isIPv4, isIPv6 } from 'node:net';

export const ADDRESS_BYTES = 16;

/** The 16 bytes of an IPv4 or IPv6 address in text; undefined when it is neither (a host name). */
export function addressBytes(host: string): Buffer | undefined {
  if (isIPv4(host)) return ipv4(host);
  const bare = host.split('%', 1)[0]!;
  return isIPv6(bare) ? ipv6(bare) : undefined;
}

/** Text of 16 address bytes, an IPv4 address when the first twelve are zero. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.subarray(0, 12).every((byte) => byte === 0)) return bytes.subarray(12, 16).join('.');
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, ADDRESS_BYTES);
  const groups = Array.from({ length: 8 }, (_, i) => view.readUInt16BE(2 * i).toString(16));
  return compressZeros(groups);
}

function ipv4(text: string): Buffer {
  const out = Buffer.alloc(ADDRESS_BYTES);
  out.set(text.split('.').map(Number), 12);
  return out;
}

function ipv6(text: string): Buffer {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) return withDottedTail(dotted[1]!, ipv4(dotted[2]!));
  const [head = '', tail] = text.split('::', 2);
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const out = Buffer.alloc(ADDRESS_BYTES);
  left.forEach((group, i) => {
    out.writeUInt16BE(Number.parseInt(group, 16), 2 * i);
  });
  right.forEach((group, i) => {
    out.writeUInt16BE(Number.parseInt(group, 16), 2 * (8 - right.length + i));
  });
  return out;
}

function withDottedTail(prefix: string, tail: Buffer): Buffer {
  // Two zero groups stand for the dotted part, so that the rest parses as usual.
  const out = ipv6(`${prefix}0:0`);
  // ::ffff:a.b.c.d is the IPv4 address itself seen through an IPv6 socket: one node, one identity.
  const mapped = out.subarray(0, 10).every((byte) => byte === 0) && out.readUInt16BE(10) === 0xffff;
  if (mapped) return tail;
  tail.copy(out, 12, 12);
  return out;
}

function compressZeros(groups: readonly string[]): string {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < groups.length; i++) {
    let end = i;
    while (groups[end] === '0') end++;
    if (end - i > best.length) best = { start: i, length: end - i };
  }
  if (best.length < 2) return groups.join(':');
  const right = groups.slice(best.start + best.length).join(':');
  return `${groups.slice(0, best.start).join(':')}::${right}`;
}
