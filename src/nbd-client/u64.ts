const TWO_32 = 0x1_0000_0000;

/** Big-endian; exact up to 2^53, which no volume and no counter here reaches. */
export function getU64(buffer: Buffer, at: number): number {
  return buffer.readUInt32BE(at) * TWO_32 + buffer.readUInt32BE(at + 4);
}

export function putU64(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32BE(Math.floor(value / TWO_32), at);
  buffer.writeUInt32BE(value % TWO_32, at + 4);
}
