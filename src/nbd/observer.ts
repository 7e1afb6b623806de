/** Hooks for metrics and logs of the door. Called on the hot path: keep them cheap, never throw. */
export interface NbdObserver {
  /** `command` and `error` as the protocol names them ('READ', 'EIO'); no error: undefined. */
  requestDone(command: string, durationMs: number, bytes: number, error: string | undefined): void;
}
