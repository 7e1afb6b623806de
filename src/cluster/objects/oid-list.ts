/** Object ids as a payload: u64 each, little-endian. */
export function encodeOids(oids: readonly bigint[]): Uint8Array {
  const out = Buffer.allocUnsafe(oids.length * 8);
  oids.forEach((oid, i) => {
    out.writeBigUInt64LE(oid, i * 8);
  });
  return out;
}

export function decodeOids(payload: Uint8Array): bigint[] {
  const view = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  return Array.from({ length: Math.floor(view.length / 8) }, (_, i) => view.readBigUInt64LE(i * 8));
}
