/** Nodes as the protocol shows them: sd_node and node_id (reference, 7.1). */
import { ADDRESS_BYTES, addressBytes } from '../../wire/address.js';
import { nodeId, sdNode } from '../../wire/records.js';
import type { NodeFacts } from './cluster-facts.js';

const NO_ADDRESS = Buffer.alloc(ADDRESS_BYTES);
const U16_MAX = 0xffff;

/** The 80-byte record, without the pointers that the original sends along (P5). */
export function encodeNode(node: NodeFacts, target: Uint8Array, offset: number): void {
  sdNode.encodeInto(
    {
      ...identityOf(node),
      vnodes: Math.min(node.vnodes, U16_MAX),
      zone: node.zone,
      spaceBytes: BigInt(node.spaceBytes),
    },
    target,
    offset,
  );
}

/** Whole records only, as many as there is room for, in the order of the protocol. */
export function encodeNodes(nodes: readonly NodeFacts[], roomBytes: number): Buffer {
  const count = Math.min(nodes.length, Math.floor(roomBytes / sdNode.sizeBytes));
  const out = Buffer.alloc(count * sdNode.sizeBytes);
  inOrder(nodes)
    .slice(0, count)
    .forEach((node, i) => {
      encodeNode(node, out, i * sdNode.sizeBytes);
    });
  return out;
}

/** The 40 bytes that tell nodes apart. */
export function encodeNodeId(node: Pick<NodeFacts, 'host' | 'port' | 'io'>): Buffer {
  return nodeId.encode(identityOf(node));
}

/** By the 16 bytes of the address, then by port: `dog` numbers nodes by their place in this order. */
export function inOrder<N extends Pick<NodeFacts, 'host' | 'port'>>(nodes: readonly N[]): N[] {
  const keyed = nodes.map((node) => ({ node, address: bytesOf(node.host) }));
  keyed.sort((a, b) => Buffer.compare(a.address, b.address) || a.node.port - b.node.port);
  return keyed.map(({ node }) => node);
}

function identityOf(node: Pick<NodeFacts, 'host' | 'port' | 'io'>) {
  return {
    address: bytesOf(node.host),
    port: node.port,
    ioAddress: node.io === undefined ? NO_ADDRESS : bytesOf(node.io.host),
    ioPort: node.io?.port ?? 0,
  };
}

function bytesOf(host: string): Buffer {
  return addressBytes(host) ?? NO_ADDRESS;
}
