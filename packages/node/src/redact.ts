/** Who gives a token where none belongs must not find it in a log as well. */
export function withoutTokens(text: string): string {
  return text.replaceAll(/myc1_[\w-]+/g, '[token]')
}
