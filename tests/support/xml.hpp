#pragma once
// XML as Expat reads it.

#include <expat.h>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace testing_support {

struct xml_document {
  struct element {
    std::string name;
    std::map<std::string, std::string> attributes;
  };
  std::vector<element> elements; ///< in the order in which they begin
  std::string words;             ///< all that is between them
};

/// \throws std::runtime_error for a text that is not well-formed
inline xml_document read_xml(const std::string& text) {
  xml_document document;
  const std::unique_ptr<XML_ParserStruct, void (*)(XML_Parser)> parser(XML_ParserCreate("UTF-8"),
                                                                       XML_ParserFree);
  XML_SetUserData(parser.get(), &document);
  XML_SetStartElementHandler(parser.get(), [](void* user, const XML_Char* name, const XML_Char** attributes) {
    auto& element = static_cast<xml_document*>(user)->elements.emplace_back();
    element.name = name;
    for (; *attributes != nullptr; attributes += 2) element.attributes[attributes[0]] = attributes[1];
  });
  XML_SetCharacterDataHandler(parser.get(), [](void* user, const XML_Char* words, int length) {
    static_cast<xml_document*>(user)->words.append(words, static_cast<std::size_t>(length));
  });
  if (XML_Parse(parser.get(), text.data(), static_cast<int>(text.size()), 1) == XML_STATUS_ERROR)
    throw std::runtime_error("line " + std::to_string(XML_GetCurrentLineNumber(parser.get())) + ": " +
                             XML_ErrorString(XML_GetErrorCode(parser.get())));
  return document;
}

} // namespace testing_support
