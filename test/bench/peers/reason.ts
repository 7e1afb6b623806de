/** What went wrong, in words for a line of progress. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message.trim() : String(error);
}
