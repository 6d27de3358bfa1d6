"""Languages as services name them."""

from __future__ import annotations


# The languages of Whisper with their names in English, as its answers have them, and
# their codes of ISO 639-1 (three letters are of ISO 639-3).
_NAMES = """
afrikaans=af albanian=sq amharic=am arabic=ar armenian=hy assamese=as
azerbaijani=az bashkir=ba basque=eu belarusian=be bengali=bn bosnian=bs breton=br
bulgarian=bg burmese=my cantonese=yue castilian=es catalan=ca chinese=zh croatian=hr
czech=cs danish=da dutch=nl english=en estonian=et faroese=fo finnish=fi flemish=nl
french=fr galician=gl georgian=ka german=de greek=el gujarati=gu haitian=ht
haitian_creole=ht hausa=ha hawaiian=haw hebrew=he hindi=hi hungarian=hu icelandic=is
indonesian=id italian=it japanese=ja javanese=jw kannada=kn kazakh=kk khmer=km
korean=ko lao=lo latin=la latvian=lv letzeburgesch=lb lingala=ln lithuanian=lt
luxembourgish=lb macedonian=mk malagasy=mg malay=ms malayalam=ml maltese=mt
mandarin=zh maori=mi marathi=mr moldavian=ro moldovan=ro mongolian=mn myanmar=my
nepali=ne norwegian=no nynorsk=nn occitan=oc panjabi=pa pashto=ps persian=fa
polish=pl portuguese=pt punjabi=pa pushto=ps romanian=ro russian=ru sanskrit=sa
serbian=sr shona=sn sindhi=sd sinhala=si sinhalese=si slovak=sk slovenian=sl
somali=so spanish=es sundanese=su swahili=sw swedish=sv tagalog=tl tajik=tg tamil=ta
tatar=tt telugu=te thai=th tibetan=bo turkish=tr turkmen=tk ukrainian=uk urdu=ur
uzbek=uz valencian=ca vietnamese=vi welsh=cy yiddish=yi yoruba=yo
"""

_CODES = {name: code for name, _, code in (p.partition("=") for p in _NAMES.split())}


def language_code(name: object) -> str | None:
    """
    Give the code of a language.

    Args:
        name: A name in English, or a code, which may have a region: ``"en-US"``.

    Returns:
        Two letters as a rule; ``None`` where it is no language that is known.
    """
    if not isinstance(name, str):
        return None
    plain = name.strip().lower()
    code = _CODES.get(plain.replace(" ", "_"))
    if code is None:
        bare = plain.replace("_", "-").partition("-")[0]
        code = bare if bare in _CODES.values() else None
    # Whisper's own code for Javanese has been withdrawn since.
    return "jv" if code == "jw" else code
