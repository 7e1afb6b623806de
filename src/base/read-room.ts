/**
 * Where a decoder of a stream has the next bytes read to: straight to the place of a payload that lacks much, else to a
 * slab, one after the other. What was filled stays as it is: views of it may live as long as they like.
 */

const SLAB_BYTES = 64 * 1024;
/** Less is not worth a system call of its own. */
const ROOM_BYTES_MIN = 16 * 1024;

export class ReadRoom {
  /** What was given out last lies in the payload that was missing these bytes, and not in the slab. */
  direct = false;
  private slab = Buffer.alloc(0);
  private at = 0;

  /** `missing`: the rest of a payload, when all that arrived before has been consumed. */
  next(missing: Buffer | undefined): Buffer {
    this.direct = missing !== undefined && missing.length >= ROOM_BYTES_MIN;
    if (this.direct) return missing!;
    if (this.slab.length - this.at < ROOM_BYTES_MIN) {
      this.slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      this.at = 0;
    }
    return this.slab.subarray(this.at);
  }

  /** So many bytes have been filled. */
  took(count: number): void {
    if (!this.direct) this.at += count;
  }
}
