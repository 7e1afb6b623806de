/** Bytes of requests that all clients of a relay have under way together (I-11). */
export class Room {
  private takenBytes = 0;

  constructor(private readonly bytesMax: number) {}

  get isExhausted(): boolean {
    return this.takenBytes >= this.bytesMax;
  }

  take(bytes: number): void {
    this.takenBytes += bytes;
  }

  give(bytes: number): void {
    this.takenBytes -= bytes;
  }
}
