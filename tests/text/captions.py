"""Captions written for the tests: everyday ones, and ones full of what tokenizers and rules trip over."""

PLAIN = [
    "A dog wearing a hat sits on a bench.",
    "Two children are playing football in the rain.",
    "a plate of food with rice, beans and a fried egg",
    "The man's red umbrella is upside down.",
    "It's a cat; it doesn't care.",
    "A black-and-white photo of a woman in a t-shirt.",
    "A close-up of a bee on a yellow flower.",
    "Someone is riding a bike down a tree-lined street.",
    "A bathroom with a sink, a toilet, and a shower.",
    "They're standing next to a fire truck.",
    "A stop sign at the corner of a busy street.",
    "An old, rusty pick-up truck is parked in a field.",
    "A group of people (mostly tourists) waits for a bus.",
    "A kitchen with stainless-steel appliances and an island.",
    "A surfer rides a big wave!",
    "Is this a zebra or a horse?",
    "A clock tower under a clear blue sky",
    "A giraffe bends down to drink water; another one watches.",
    "Three-quarter view of a vintage car, its chrome gleaming.",
    "Several well-dressed guests raise their glasses.",
    "A person's hands hold a half-eaten sandwich.",
    "The dogs' tails are wagging.",
    "The children's books lie on the teacher's desk.",
    "A boy who can't reach the shelf won't give up.",
    "She'd rather sleep; he'll read; we've had tea; I'm here; you're late.",
    "A cake with candles, which isn't cut yet.",
    "A train pulls into the station: people wait on the platform.",
    "Fruit on a table: apples, pears, and grapes.",
    "A man in a suit, a woman in a dress, and a dog.",
    "A snow-covered mountain rises above a half-frozen lake.",
]

NUMBERS = [
    "A street sign reads 42nd St.",
    "A 3.5 inch floppy disk next to a 1,000 dollar bill.",
    "The clock shows 10:30.",
    "A poster from the 1980s, marked 50% off.",
    "The price tag says $5.99.",
    "A jersey with the number 23 on it.",
    "The license plate reads 4 and then 7.",
    "A 2,500,000 pixel photo, 300 dpi.",
    "A photo taken on 12/25/2010.",
    "Three of 10 birds are flying at a 45° angle.",
    "The thermometer shows 20°c.",
    "He finished 1st, she finished 2nd, they finished 3rd.",
    "A size 10.5 shoe.",
    "Bus no. 15 stops here.",
    "A #1 fan holds up a sign.",
    "A sign for route 66 dated 1952-1960.",
    "A 12-year-old boy with a 35mm camera.",
    "Built in 2010. Two dogs guard it.",
    "A can of 7-up and an iPhone 14.",
    "A Boeing 747-400 on the runway.",
    "An a320 lands.",
    "It is 1/2 full.",
    "The score is 3-2.",
    "Tickets cost €20, £15 or ¥300.",
    "A 4x4 truck in the mud.",
]

QUOTES = [
    'A sign that says "stop".',
    'A t-shirt reading "I love NY" and "peace".',
    'The poster says, "Keep calm and carry on."',
    'A mug with the words "world\'s best dad" on it.',
    'A sign ("no parking") hangs on the wall.',
    'A neon sign, "open 24/7", glows.',
    "The banner reads 'welcome home'.",
    "A book titled 'war and peace' on a shelf.",
    'The label reads "100% cotton".',
    'A screen showing "error: file not found!"',
    '"Hello," says the sign.',
    "A dog named 'max' wears the dogs' medal.",
    "It's five o'clock at O'Brien's.",
    "Rock 'n' roll posters cover the wall.",
    'A 6" ruler.',
]

PUNCTUATION = [
    "A man, tired... very tired.",
    "Wait...what is this?",
    "A dog/cat hybrid and/or a fox.",
    "A red car - the big one - is parked.",
    "State-of-the-art out-of-focus merry-go-round.",
    "A mother-in-law and her ex-husband.",
    "A Mr. Bean doll and Dr. Lee.",
    "The U.S. flag flies at 5 a.m. in Washington, D.C.",
    "A picture [cropped] of a house (white), a fence (blue), and a tree.",
    "Salt & pepper on a table.",
    "The text at www.example.com is visible.",
    "A caf\u00e9 in S\u00e3o Paulo serves cr\u00e8me br\u00fbl\u00e9e.",
    "A man\u2014bearded, smiling\u2014waves.",
    "Wow!! A rainbow?!",
    "An e-mail, a u-turn, and an x-ray.",
    "A semi-detached house, i.e. half a house, e.g. this one.",
    "left: a cat; right: a dog",
    "A view of the city (at night).",
    "A drawing of a smiley :)",
    "An @ sign and a * star.",
    "A sign with an arrow -> pointing right.",
    "A 'do not enter' sign.",
    "Low-angle, high-contrast, black/white shot.",
    "His hers and theirs, the ladies' room.",
    "A bottle of Coca-Cola, a Jack-o'-lantern, and M&M's.",
    "A menu: 1) soup, 2) salad, 3) steak.",
    "\u6771\u4eac\u306e\u591c\u666f and a \U0001f600 sticker",
    "A heart \u2764\ufe0f and a family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "A one-way sign; a two-way street.",
    "A very, very long pier.",
]

# Written after the rules were finished and never used to change them: the honest measure.
HELD_OUT = [
    "A barista pours latte art into a take-away cup; the cafe's chalkboard lists today's specials.",
    "Two women, one in a knee-length coat, cross 5th Avenue at dusk.",
    'A handwritten note says: "Don\'t forget the milk!"',
    "The wall-mounted clock reads 7:45, although it's dark outside.",
    "A toddler (about two years old) splashes in an above-ground pool.",
    "A bus marked 'not in service' stands at the depot.",
    "The runners' bibs show 1042, 87 and 311.",
    'A can labelled "ginger ale", half empty, sits on a window-sill.',
    "Low-lying fog covers the farmer's fields - a tractor is barely visible.",
    "An airplane with the registration N123AB taxis past gate B12.",
    "A vending machine sells chips for $1.25 and soda for $2.",
    "A woman who's wearing a hijab photographs the city's skyline.",
    "The chef hasn't finished: three plates are empty, one is full.",
    "A well-worn copy of 'Moby-Dick' lies next to reading glasses.",
    "A cat's-eye view of the living room.",
    "A 19th-century portrait of a bearded man in a dark frock coat.",
    "Wooden letters spell LOVE on a mantelpiece.",
    "A mid-air shot of a skateboarder; his friends' cameras are ready.",
    "The bottom left-hand corner shows a date: 03/14/98.",
    "A traffic light, a mailbox & a fire hydrant stand side by side.",
    'A billboard advertises "2 for 1" burgers.',
    "They'd parked the RV beneath the overpass, where it wouldn't get wet.",
    "A close-up, black-and-white photograph of an elderly man's weathered hands.",
    "There's a gap between the platform and the train, isn't there?",
    'A sign in Spanish reads "Se vende" above the phone number 555-0199.',
    "Approximately 75% of the image is sky.",
    "A double-decker bus (No. 24) turns left onto the A4.",
    "Sunlight streams through stained-glass windows, e.g. the one showing St. Peter.",
    "A girl's birthday cake has 6 candles and the word 'princess' on it.",
    "An old-fashioned ice-cream truck parked by the pier, 10 a.m.",
    "A fisherman in a yellow rain jacket hauls in a net full of herring.",
    "Rows of tulips (red, white, and pink) stretch toward a windmill.",
    "A man holds a tablet in one hand, a stylus in the other.",
    'The text "SALE" is printed in bold, all-caps letters on the shop\'s window.',
    "A hand-painted sign - slightly crooked - hangs over the doorway.",
    "A bride and groom share their first dance; guests look on.",
    "A 1967 Ford Mustang with a V8 engine and 18-inch wheels.",
    "Two-thirds of the pizza is gone.",
    "A yoga class meets on the rooftop at 6 p.m. every Tuesday.",
    "A puppy sleeps in a child's lap while the TV is on.",
]

VARIED = PLAIN + NUMBERS + QUOTES + PUNCTUATION

ODD = [
    "",
    " ",
    "  double  spaces   everywhere  ",
    "tab\tand\nnew line",
    "<s> </s> <pad> <unk> <0x41>",
    "&lt;html&gt; &amp;amp; entities",
    "\u201ccurly quotes\u201d and \u2018single ones\u2019 \u2026",
    "\uff26\uff55\uff4c\uff4c width",
    "\ufb01ne ligatures",
    "nai\u0308ve combining",
    "\u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 \u4f60\u597d \uc548\ub155",
    "\u00c3\u00a9 mojibake",
    "a" * 300,
    "!!!!!!!!!!",
    "wow!; !~ !&&",
    "\x00\x07 control",
    "0123456789 3.14159 1e-5",
    "\u2581 the mark itself",
    "UPPER lower MiXeD",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467",
]

_NOUNS = ["dog", "cat", "bicycle", "kitchen", "umbrella", "giraffe", "clock", "pizza"]
_NOUNS += ["laptop", "surfer", "caf\u00e9", "child's", "zebra", "bench", "tower"]
_PLACES = ["on a beach", "in the park", "near a window", "under the bridge", "at 10:30", "on Main St.", "at O'Brien's"]
_COLOURS = ["red", "blue", "light-green", "black-and-white", "golden", "grey"]


def thousand():
    """One thousand different captions: the written ones, odd ones, long ones, and sentences put together."""
    found = [*VARIED, *ODD, *(" ".join(VARIED[i : i + 12]) for i in range(0, len(VARIED), 3))]
    for i, noun in enumerate(_NOUNS):
        for j, place in enumerate(_PLACES):
            for k, colour in enumerate(_COLOURS):
                tail = ("", ".", "!", f", {i + 1} of {j * 1000 + k}", '; it says "hi"')[(i + j + k) % 5]
                found.append(f"A {colour} {noun} {place} beside the {_NOUNS[(i + j + 1) % len(_NOUNS)]}{tail}")
    found += [f"{text} {text.upper()} {i}" for i, text in enumerate(VARIED * 4)]
    return list(dict.fromkeys(found))[:1000]
