/**
 * One message between two sheep (or between a sheep and itself: then it is never encoded). A single fixed header
 * with one optional payload. The protocol is ours (D-2): versioned in the hello, checksummed, little-endian.
 * See src/net/peer-codec.ts for the bytes.
 */
export const PEER_PROTOCOL_VERSION = 1;
/** Largest payload of one message: a whole default object and some room. Checked before memory is allocated. */
export const PEER_PAYLOAD_BYTES_MAX = 8 * 1024 * 1024;

/** Message types. Requests are even, the answer to request n is n + 1. */
export const PeerType = {
  hello: 0x02,
  helloReply: 0x03,
  ping: 0x04,
  pong: 0x05,
  /** Who has stepped aside asks: answered when the receiver has reached the sender on a link of its own. */
  pingBack: 0x06,
  /** Gateway to an object's primary. */
  read: 0x10,
  write: 0x12,
  zero: 0x14,
  remove: 0x16,
  status: 0x18,
  /** Gateway to every node that holds unflushed writes of a volume. */
  flush: 0x1a,
  /** Gateway to an object's primary: are all replicas right? Answer: JSON (src/cluster/checker.ts). */
  check: 0x1c,
  /** Primary to the other replicas of an object. */
  replicaWrite: 0x30,
  replicaZero: 0x32,
  replicaRemove: 0x34,
  replicaRead: 0x36,
  replicaSums: 0x38,
  /** The primary says that an object is the same on all replicas now. */
  replicaSettled: 0x3a,
  /** Like replicaSums, but blocks that do not verify are named instead of being given another checksum. */
  replicaCheck: 0x3e,
  /** Blocks that no replica has right: payload pairs of u32, block and checksum of the content that is lost. */
  replicaSpoil: 0x48,
  /** The sender had the object in doubt and dropped it with its volume: whoever still has it sees to it. */
  doubt: 0x4c,
  /** One way: everything this primary sent on this link up to `commit` is on all replicas. */
  commit: 0x3c,
  /** New epoch: each node asks each other for its unsettled objects. */
  peering: 0x40,
  /** A returning node asks what it missed, and asks the primary to make one object of its own right. */
  missed: 0x42,
  reconcile: 0x44,
  /** A node that is to hold more than it does asks another for the objects of that kind it knows, page by page. */
  listed: 0x46,
  /** Gateway without ownership of a volume to the gateway that has it. Payload: JSON, then bytes. */
  device: 0x50,
  /** Control call carried on to another sheep. Payload: JSON, then bytes. */
  control: 0x52,
} as const;
export type PeerType = (typeof PeerType)[keyof typeof PeerType] | number;

export const PeerFlag = {
  /** Durable before it is answered. */
  sync: 0x01,
  /** Zero requests: keep the range allocated. */
  allocate: 0x02,
  /** Reconcile requests: the sender is to hold the object by the target of a move. */
  move: 0x04,
  /** A copy on write verifies all of the parent and shares no file with it. */
  whole: 0x08,
  /** WriteMode in two bits. */
  modeMask: 0x30,
  modeShift: 4,
} as const;

export interface PeerMessage {
  type: PeerType;
  flags: number;
  /** Matches an answer to its request, per link and direction. u32. */
  id: number;
  /** 0 in answers: success, else a code (see resultOf / errorOf in the codec). u16. */
  result: number;
  /** The sender's epoch (I-3). u32. */
  epoch: number;
  oid: bigint;
  parent: bigint;
  /** Root vid of the volume's family: with the object's index it decides the placement (D-16). u32. */
  root: number;
  /** Copies wanted (1..31). u8. */
  copies: number;
  /** log2 of the object size. u8. */
  objectShift: number;
  offset: number;
  length: number;
  /** replica*: position in the primary's stream to this replica. u32, wraps never (a link lives shorter). */
  sequence: number;
  /** Everything up to this sequence is committed. u32. */
  commit: number;
  payload: Uint8Array;
  /** CRC-32 of the payload where it is known: verified on arrival, and passed on with the same bytes. 0: not known. */
  payloadCrc?: number;
  /** CRC-32 of each block of a write's payload, where it is whole blocks and was looked at (base/block-sums.ts). */
  payloadSums?: Uint32Array | undefined;
}

const NO_PAYLOAD = new Uint8Array(0);

export function emptyMessage(type: PeerType): PeerMessage {
  return {
    type,
    flags: 0,
    id: 0,
    result: 0,
    epoch: 0,
    oid: 0n,
    parent: 0n,
    root: 0,
    copies: 0,
    objectShift: 0,
    offset: 0,
    length: 0,
    sequence: 0,
    commit: 0,
    payload: NO_PAYLOAD,
    payloadCrc: 0,
    payloadSums: undefined,
  };
}
