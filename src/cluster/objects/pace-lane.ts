/** Places for work of one kind, and who waits for one; those who come first before the others. No I/O. */

/** What work on one object has while it has its turn. */
export interface Turn {
  /** Before so many bytes more are moved: resolves when they may be. Not to be called under a lock that others want. */
  step(bytes: number): Promise<void>;
}

interface Waiter {
  readonly enter: (chargedBytes: number) => void;
  readonly reject: (error: Error) => void;
}

export class Lane {
  running = 0;
  private readonly first: Waiter[] = [];
  private readonly others: Waiter[] = [];

  constructor(private readonly places: number) {}

  get isFull(): boolean {
    return this.running >= this.places;
  }

  get waits(): boolean {
    return this.first.length > 0 || this.others.length > 0;
  }

  /** Resolves with a place taken, and what it was charged for. */
  wait(first: boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      (first ? this.first : this.others).push({ enter: resolve, reject });
    });
  }

  /** Lets one in who waits, if there is a place. */
  next(chargedBytes: number): boolean {
    if (this.isFull) return false;
    const waiter = this.first.shift() ?? this.others.shift();
    if (waiter === undefined) return false;
    this.running++;
    waiter.enter(chargedBytes);
    return true;
  }

  rejectAll(error: Error): void {
    for (const waiter of [...this.first.splice(0), ...this.others.splice(0)]) waiter.reject(error);
  }
}
